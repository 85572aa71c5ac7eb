"""Networks: their attributes are checked when they are made or traced, so that only the valid calls compile."""

# pyright: reportArgumentType=false

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Count, Data, Number, Shaped, call
from scorekit import networks

KEY = jax.random.key(0)
VECTORS, SIGNALS = np.ones((2, 3), np.float32), np.ones((2, 4, 1), np.float32)
NOISE = np.ones(2, np.float32)
_EMPTY = {"empty": "an empty batch gives an empty batch"}
_IMAGE = {"shape": "one axis more makes an image"}
_NO_EXAMPLES = "noise"  # the argument that an error names first where the batch is empty
LABELS = Classes(np.array([0, 2]), {"negative": "NaN", "too large": "NaN"}, num_classes=4)


def shapes(network, *inputs, **options):
    """The shapes of the output of a network, from tracing alone."""
    return jax.eval_shape(lambda: network.init_with_output(KEY, *inputs, **options)[0])


@functools.cache
def compiled(network):
    return jax.jit(network.apply)


def applied(network, x, *inputs, **options):
    """The output of a network whose parameters are all 0.1, compiled once for each shape."""
    if not hasattr(x, "shape"):
        raise TypeError(f"x must be an array, got {x}")
    params = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype),
        jax.eval_shape(lambda: network.init(KEY, x, *inputs, **options)),
    )
    return compiled(network)(params, x, *inputs, **options)


def _attributes(kind, x, *inputs, **numbers):
    return call(lambda **given: shapes(kind(**given), x, *inputs), **numbers)


_MLP = networks.MLP(features=4, blocks=1, num_classes=3, vector_size=2, map_shape=(1,))
_ADM = networks.ADM(channels=4, multipliers=(1,), blocks=0)
_DIT_SIZES = {"patch": 2, "depth": 1, "width": 4, "heads": 2}
_DIT = networks.DiT(**_DIT_SIZES)
_TEXT_SIZES = {"vocabulary": 4, "max_length": 2, "depth": 1, "width": 4, "heads": 2, "hidden": 4}
_TEXT, _IDS = networks.TextEncoder(**_TEXT_SIZES), np.ones((1, 2), np.int32)
_EDM2_SIZES = {"channels": 8, "multipliers": (1,), "head_channels": 8}
_EDM2, _IMAGES = networks.EDM2(**_EDM2_SIZES), np.ones((2, 2, 2, 1), np.float32)
_SONG_UNET = networks.SongUNet(channels=4, multipliers=(1,))
_UNET = networks.UNet(channels=4, multipliers=(1,))
_VDM = networks.VDMUNet(channels=4, depth=1)
_WAVENET = networks.WaveNet(channels=4, layers=1)
_CLASSIFIER = networks.Classifier(num_classes=3, channels=4, multipliers=(1,))
_AUTOENCODER = networks.Autoencoder(channels=4, multipliers=(1,), codes=3)
_KL_SIZES = {"channels": 2, "multipliers": (1, 2), "blocks": 1, "groups": 2}
_KL = networks.AutoencoderKL(**_KL_SIZES)
_DDPM_SIZES = {"channels": 4, "multipliers": (1,), "groups": 2}
_PICTURES = np.ones((2, 4, 4, 3), np.float32)
_CODES = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
_PAIRS = np.ones((3, 2), np.float32)
_USED = Classes(np.array([0, 1]), num_classes=2)


def _noisy(network, x, documented=_EMPTY | _IMAGE):
    return call(lambda x, noise: applied(network, x, noise), x=Data(x, documented, alias=_NO_EXAMPLES), noise=NOISE)


ROWS: dict[str, Call] = {
    "networks.MLP": call(
        lambda x, noise, labels, vector, dense_map: applied(_MLP, x, noise, labels, vector, dense_map),
        x=Data(VECTORS, alias="dense_map"),
        noise=Data(NOISE, {"integer": "becomes float32"}),
        labels=LABELS,
        vector=Data(np.ones((2, 2), np.float32), {"integer": "becomes float32"}),
        dense_map=Data(np.ones((2, 1), np.float32), {"integer": "becomes float32"}),
    ),
    "networks.MLP/attributes": _attributes(
        networks.MLP,
        VECTORS,
        NOISE,
        features=Count(4),
        blocks=Count(1, least=0),
        num_classes=Count(3),
        vector_size=Count(2),
    ),
    "networks.ADM": _noisy(_ADM, SIGNALS),
    "networks.ADM/attributes": call(
        lambda **given: shapes(
            networks.ADM(**{"channels": 4, "multipliers": (1,), "blocks": 0, **given}), SIGNALS, NOISE
        ),
        channels=Count(4),
        blocks=Count(0, least=0),
        heads=Count(2),
        head_channels=Count(2),
        noise_channels=Count(4),
        group_channels=Count(4),
        noise_scale=Number(32.0, low=0.0),
        dropout=Number(0.1, low=-0.1, high=1.0),
    ),
    "networks.ADM/preset": call(networks.ADM.preset, name=Choice("lsun")),
    "networks.DiT": _noisy(_DIT, SIGNALS),
    "networks.TextEncoder": call(
        lambda ids, mask: applied(_TEXT, ids, mask).pooled,
        ids=Classes(np.array([[1, 2], [3, 0]]), num_classes=4),
        mask=np.ones((2, 2), bool),
    ),
    "networks.TextEncoder/attributes": call(
        lambda **given: shapes(networks.TextEncoder(**{**_TEXT_SIZES, **given}), _IDS, _IDS == 1).pooled,
        vocabulary=Count(4),
        max_length=Count(2),
        depth=Count(1),
        width=Count(4),
        heads=Count(2),
        hidden=Count(4),
        epsilon=Number(1e-12, low=0.0),
    ),
    "networks.DiT/attributes": call(
        lambda **given: shapes(networks.DiT(**{**_DIT_SIZES, **given}), SIGNALS, NOISE),
        patch=Count(2),
        depth=Count(1),
        width=Count(4),
        heads=Count(2),
        mlp_ratio=Number(4.0, low=0.0),
        noise_scale=Number(32.0, low=0.0),
        attention=Choice("xla"),
        token_size=Count(2),
    ),
    "networks.EDM2": _noisy(_EDM2, _IMAGES, _EMPTY),
    "networks.EDM2/attributes": call(
        lambda **given: shapes(networks.EDM2(**{**_EDM2_SIZES, **given}), _IMAGES, NOISE),
        channels=Count(8),
        blocks=Count(1),
        head_channels=Count(8),
        dropout=Number(0.1, low=-0.1, high=1.0),
        noise_scale=Number(0.5, low=0.0),
    ),
    "networks.EDM2/levels": call(
        lambda multipliers: shapes(networks.EDM2(**{**_EDM2_SIZES, "multipliers": (multipliers,)}), _IMAGES, NOISE),
        multipliers=Count(1),
    ),
    "networks.EDM2/preset": call(networks.EDM2.preset, name=Choice("img64-s")),
    "networks.LogVariance": call(
        lambda noise: applied(networks.LogVariance(features=4), noise),
        noise=Data(NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
    ),
    "networks.LogVariance/attributes": call(
        lambda **given: shapes(networks.LogVariance(**given), NOISE),
        features=Count(4),
        noise_scale=Number(0.5, low=0.0),
    ),
    "networks.SongUNet": call(
        lambda x, noise: applied(_SONG_UNET, x, noise), x=Data(_IMAGES, _EMPTY, alias=_NO_EXAMPLES), noise=NOISE
    ),
    "networks.SongUNet/attributes": _attributes(
        networks.SongUNet,
        _IMAGES,
        NOISE,
        channels=Count(4),
        blocks=Count(1),
        embedding=Choice("positional"),
        dropout=Number(0.1, low=-0.1, high=1.0),
        noise_scale=Number(32.0, low=0.0),
    ),
    "networks.SongUNet/levels": call(
        lambda multipliers: shapes(networks.SongUNet(channels=4, multipliers=(1, multipliers)), _IMAGES, NOISE),
        multipliers=Count(2),
    ),
    "networks.SongUNet/preset": call(lambda name: networks.SongUNet.preset(name), name=Choice("ddpmpp")),
    "networks.UNet": _noisy(_UNET, SIGNALS),
    "networks.UNet/attributes": _attributes(
        networks.UNet,
        SIGNALS,
        NOISE,
        channels=Count(4),
        blocks=Count(1, least=0),
        heads=Count(1),
        patch=Count(1),
        conditioning_layers=Count(1, least=0),
        filters=Count(1, least=0),
    ),
    "networks.UNet/levels": call(
        lambda multipliers, factors: shapes(
            networks.UNet(channels=4, multipliers=(1, multipliers), factors=(factors,)), SIGNALS, NOISE
        ),
        multipliers=Count(2),
        factors=Count(2),
    ),
    "networks.DDPMUNet": call(
        lambda x, noise: applied(networks.DDPMUNet(**_DDPM_SIZES), x, noise),
        x=Data(_PICTURES, _EMPTY, alias=_NO_EXAMPLES),
        noise=NOISE,
    ),
    "networks.DDPMUNet/attributes": call(
        lambda **given: shapes(networks.DDPMUNet(**{**_DDPM_SIZES, **given}), _PICTURES, NOISE),
        channels=Count(4, least=4),
        blocks=Count(1, least=0),
        groups=Count(2),
        dropout=Number(0.5, low=-0.1, high=1.1),
        noise_scale=Number(32.0, low=0.0),
    ),
    "networks.DDPMUNet/levels": call(
        lambda multipliers, attention_levels: shapes(
            networks.DDPMUNet(channels=4, groups=2, multipliers=(1, multipliers), attention_levels=(attention_levels,)),
            _PICTURES,
            NOISE,
        ),
        multipliers=Count(2),
        attention_levels=Count(1, least=0),
    ),
    "networks.DDPMUNet/preset": call(networks.DDPMUNet.preset, name=Choice("cifar10")),
    "networks.VDMUNet": _noisy(_VDM, SIGNALS),
    "networks.VDMUNet/attributes": _attributes(
        networks.VDMUNet,
        SIGNALS,
        NOISE,
        channels=Count(4),
        depth=Count(1),
        log_snr_max=Number(13.3, low=-5.0),
        log_snr_min=Number(-5.0, high=13.3, alias="log_snr_max"),
        noise_scale=Number(4.0, low=0.0),
    ),
    "networks.VDMUNet/preset": call(
        lambda name: networks.VDMUNet.preset(name, channels=4, depth=1), name=Choice("cifar10")
    ),
    "networks.WaveNet": _noisy(_WAVENET, SIGNALS),
    "networks.WaveNet/attributes": _attributes(
        networks.WaveNet,
        SIGNALS,
        NOISE,
        channels=Count(4),
        layers=Count(1),
        cycle=Count(1),
        dilation_base=Count(2),
        patch=Count(1),
    ),
    "networks.Classifier": _noisy(_CLASSIFIER, SIGNALS),
    "networks.Classifier/attributes": _attributes(
        networks.Classifier,
        SIGNALS,
        NOISE,
        num_classes=Count(3),
        channels=Count(4),
        blocks=Count(1, least=0),
        heads=Count(1),
        patch=Count(1),
    ),
    "networks.Autoencoder": call(lambda x: applied(_AUTOENCODER, x), x=Data(SIGNALS, {**_EMPTY, **_IMAGE})),
    "networks.Autoencoder/attributes": _attributes(
        networks.Autoencoder,
        SIGNALS,
        data_channels=Count(1),
        latent_channels=Count(2),
        channels=Count(4),
        blocks=Count(1, least=0),
        patch=Count(1),
        codes=Count(3),
    ),
    "networks.Autoencoder/decode": call(
        lambda z: shapes(_AUTOENCODER, z, method="decode"),
        z=Data(np.ones((2, 4, 4), np.float32), {"nan": "only traced here", **_EMPTY}),
    ),
    "networks.AutoencoderKL": call(lambda x: applied(_KL, x), x=Data(_PICTURES, _EMPTY)),
    "networks.AutoencoderKL/attributes": call(
        lambda **given: shapes(networks.AutoencoderKL(**{**_KL_SIZES, **given}), _PICTURES),
        data_channels=Count(3),
        latent_channels=Count(4),
        channels=Count(2),
        blocks=Count(1, least=0),
        groups=Count(2),
        scaling_factor=Number(0.5, low=0.0),
        shift_factor=Number(0.1),
    ),
    "networks.AutoencoderKL/encode": call(
        lambda x, eps: shapes(_KL, x, eps, method="encode"),
        x=Data(_PICTURES, {"nan": "only traced here", **_EMPTY}, alias="mean"),
        eps=Data(np.ones((2, 2, 2, 4), np.float32), {"nan": "only traced here", "integer": "becomes float32"}),
    ),
    "networks.AutoencoderKL/decode": call(
        lambda z: shapes(_KL, z, method="decode"),
        z=Data(np.ones((2, 4, 4), np.float32), {"nan": "only traced here", **_EMPTY}),
    ),
    "networks.AutoencoderKL/preset": call(networks.AutoencoderKL.preset, name=Choice("sdxl")),
    "networks.Conditioning": call(
        lambda noise, labels, batch, vector: shapes(
            networks.Conditioning(4, num_classes=3, vector_size=2), noise, labels, batch, vector
        ),
        noise=Data(NOISE, {"integer": "becomes float32", "nan": "only traced here"}),
        labels=LABELS,
        batch=Count(2, least=0),
        vector=Data(np.ones((2, 2), np.float32), {"integer": "becomes float32", "nan": "only traced here"}),
    ),
    "networks.Conditioning/attributes": call(
        lambda **given: shapes(networks.Conditioning(**{"features": 4, **given}), NOISE, None, 2)
    ),
    "networks.fourier_features": call(
        networks.fourier_features,
        noise=Data(NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
        features=Count(4, least=4),
        lowest=Number(0.25, low=0.0, high=33.0),
        highest=Number(32.0, low=0.25),
    ),
    "networks.timestep_features": call(
        networks.timestep_features,
        timestep=Data(NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
        features=Count(4, least=2),
    ),
    "networks.with_new_parameters": call(
        networks.with_new_parameters,
        trained=Shaped({"bias": np.ones(2, np.float32)}),
        fresh={"bias": np.zeros(2, np.float32), "scalars": {"bias": np.zeros(2, np.float32)}},
    ),
    "networks.drop_labels": call(
        networks.drop_labels,
        key=KEY,
        labels=np.array([0, 2]),
        rate=Number(0.5, low=-0.1, high=1.1),
        null_label=Classes(3, {"negative": "any integer", "too large": "any integer"}, num_classes=4),
    ),
    "networks.drop_conditions": call(
        lambda vector, rates, joint_rate: networks.drop_conditions(
            KEY,
            {"vector": networks.Masked(vector, np.ones(2, bool))},
            {"vector": networks.ABSENT},
            {"vector": rates},
            joint_rate,
        ),
        vector=Data(
            np.ones((2, 2), np.float32),
            {"shape": "any shape", "integer": "any values", "nan": "any values"},
            alias="leading batch axis",
        ),
        rates=Number(0.0, low=-0.1, high=1.1),
        joint_rate=Number(0.0, low=-0.1, high=1.1),
    ),
    "networks.noise_augmented": call(
        lambda condition, level, eps: networks.noise_augmented(networks.Masked(condition), level, eps),
        condition=Data(SIGNALS, alias="level"),
        level=Data(np.full(2, 0.5, np.float32), {"integer": "0 and 1 are levels"}),
        eps=Data(SIGNALS, {"integer": "becomes float32"}),
    ),
    "networks.noise_augmented/level": call(
        lambda level: networks.noise_augmented(networks.Masked(SIGNALS), level, SIGNALS),
        level=Number(0.5, low=-0.1, high=1.1),
    ),
    "networks.features": call(
        lambda layers: jax.eval_shape(lambda: _features(layers)),
        layers=Choice("dense_0"),
    ),
    "networks.pool": call(
        lambda feature, cells: networks.pool(jnp.asarray(feature), cells),
        feature=Data(np.ones((1, 2, 2, 1), np.float32), {**_EMPTY, "integer": "integers have a mean"}),
        cells=Count(1),
    ),
    "networks.fixed_noise_kl": call(
        networks.fixed_noise_kl,
        z=Data(VECTORS, {**_EMPTY, "shape": "any shape"}),
        noise=Number(0.5, low=0.0),
    ),
    "networks.nearest_code": call(
        networks.nearest_code,
        x=Data(_PAIRS, {"nan": "K, which is no code", "empty": "no vectors, no codes"}, alias="codes"),
        codes=Data(_CODES, {"nan": "K, which is no code"}),
    ),
    "networks.quantise": call(
        networks.quantise, x=Data(_PAIRS, {"empty": "no vectors, no codes"}, alias="codes"), codes=Data(_CODES)
    ),
    "networks.revival_loss": call(
        networks.revival_loss,
        x=Data(_PAIRS, {"nan": "a vector that no unused code is paired with"}, alias="codes"),
        codes=Data(_CODES, {"nan": "a code in use has no part in this loss"}),
        index=_USED,
    ),
    "networks.code_counts": call(networks.code_counts, index=_USED, num_codes=Count(2)),
    "networks.perplexity": call(
        networks.perplexity,
        counts=Data(np.array([1.0, 2.0], np.float32), {"integer": "counts are integers", "shape": "any leading axes"}),
    ),
}


def _features(layers):
    variables = _MLP.init(KEY, VECTORS, NOISE)
    return networks.features(_MLP, variables, VECTORS, NOISE, layers=[layers])


EXEMPT = {
    "networks.attention.attend": "takes what the networks give it, which they check",
    "networks.dit.positions": "takes the sizes of a network, which it checks",
    "networks.Masked": "a record of a condition, which the networks check",
    "networks.Posterior": "a result",
    "networks.Quantised": "a result",
    "networks.TextFeatures": "a result",
    "networks.normalise_weights": "takes a tree of arrays of any values",
    "networks.layer_names": "takes what the network takes, which the network checks",
}
