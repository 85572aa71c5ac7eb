"""Networks: their attributes are checked when they are traced, so that only the valid calls compile."""

# pyright: reportArgumentType=false

import functools

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Classes, Count, Data, Number, Shaped, call
from scorekit import networks

_KEY = jax.random.key(0)
_VECTORS, _SIGNALS = np.ones((2, 3), np.float32), np.ones((2, 4, 1), np.float32)
_NOISE = np.ones(2, np.float32)
_EMPTY = {"empty": "an empty batch gives an empty batch"}
_IMAGE = {"shape": "one axis more makes an image"}
_NO_EXAMPLES = "noise"  # the argument that an error names first where the batch is empty
_LABELS = Classes(np.array([0, 2]), {"negative": "NaN", "too large": "NaN"}, num_classes=4)


def _shapes(network, *inputs, **options):
    """The shapes of the output of a network, from tracing alone."""
    return jax.eval_shape(lambda: network.init_with_output(_KEY, *inputs, **options)[0])


@functools.cache
def _compiled(network):
    return jax.jit(network.apply)


def _applied(network, x, *inputs, **options):
    """The output of a network whose parameters are all 0.1, compiled once for each shape."""
    if not hasattr(x, "shape"):
        raise TypeError(f"x must be an array, got {x}")
    params = jax.tree.map(
        lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype),
        jax.eval_shape(lambda: network.init(_KEY, x, *inputs, **options)),
    )
    return _compiled(network)(params, x, *inputs, **options)


def _head(features, noise, labels):
    """The logits of a discriminator on one layer, all parameters 0.1."""
    given = {"deep": features}, noise, labels
    shapes = jax.eval_shape(lambda: _HEAD.init(_KEY, *given))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)
    return _compiled(_HEAD)(variables, *given)["deep"]


def _attributes(kind, x, *inputs, **numbers):
    return call(lambda **given: _shapes(kind(**given), x, *inputs), **numbers)


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
_CAUSAL_SIZES = {"outputs": 2, "channels": 4, "layers": 1, "cycle": 1}
_CAUSAL_WAVENET = networks.CausalWaveNet(**_CAUSAL_SIZES)
_CAUSAL_DIT_SIZES = {"outputs": 2, "depth": 1, "width": 4, "heads": 2, "window": 2}
_CAUSAL_DIT = networks.CausalTransformer(**_CAUSAL_DIT_SIZES)
_TIERED = {"upper": networks.CausalWaveNet(**_CAUSAL_SIZES), "lower": _CAUSAL_WAVENET.clone(map_size=1)}
_ONLY_X = {"x": Data(_SIGNALS)}
_CLASSIFIER = networks.Classifier(num_classes=3, channels=4, multipliers=(1,))
_AUTOENCODER = networks.Autoencoder(channels=4, multipliers=(1,), codes=3)
_KL_SIZES = {"channels": 2, "multipliers": (1, 2), "blocks": 1, "groups": 2}
_KL = networks.AutoencoderKL(**_KL_SIZES)
_DDPM_SIZES = {"channels": 4, "multipliers": (1,), "groups": 2}
_PICTURES = np.ones((2, 4, 4, 3), np.float32)
_CODES = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)
_PAIRS = np.ones((3, 2), np.float32)
_USED = Classes(np.array([0, 1]), num_classes=2)


_SMALL = {"channels": 4, "max_channels": 4, "depth": 1}
_SCALES = networks.MultiScaleDiscriminator(scales=2, factor=2, **_SMALL)
_PERIODS = networks.MultiPeriodDiscriminator((2,), **_SMALL)
_HEAD = networks.FeatureDiscriminator(channels=4, num_classes=4)


def _noisy(network, x, documented=_EMPTY | _IMAGE):
    return call(lambda x, noise: _applied(network, x, noise), x=Data(x, documented, alias=_NO_EXAMPLES), noise=_NOISE)


ROWS: dict[str, Call] = {
    "networks.MLP": call(
        lambda x, noise, labels, vector, dense_map: _applied(_MLP, x, noise, labels, vector, dense_map),
        x=Data(_VECTORS, alias="dense_map"),
        noise=Data(_NOISE, {"integer": "becomes float32"}),
        labels=_LABELS,
        vector=Data(np.ones((2, 2), np.float32), {"integer": "becomes float32"}),
        dense_map=Data(np.ones((2, 1), np.float32), {"integer": "becomes float32"}),
    ),
    "networks.MLP/attributes": _attributes(
        networks.MLP,
        _VECTORS,
        _NOISE,
        features=Count(4),
        blocks=Count(1, least=0),
        num_classes=Count(3),
        vector_size=Count(2),
    ),
    "networks.ADM": _noisy(_ADM, _SIGNALS),
    "networks.ADM/attributes": call(
        lambda multipliers, **given: _shapes(
            networks.ADM(**{"channels": 4, "multipliers": (multipliers,), "blocks": 0, **given}), _SIGNALS, _NOISE
        ),
        multipliers=Count(1),
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
    "networks.DiT": _noisy(_DIT, _SIGNALS),
    "networks.TextEncoder": call(
        lambda ids, mask: _applied(_TEXT, ids, mask).pooled,
        ids=Classes(np.array([[1, 2], [3, 0]]), num_classes=4),
        mask=np.ones((2, 2), bool),
    ),
    "networks.TextEncoder/attributes": call(
        lambda **given: _shapes(networks.TextEncoder(**{**_TEXT_SIZES, **given}), _IDS, _IDS == 1).pooled,
        vocabulary=Count(4),
        max_length=Count(2),
        depth=Count(1),
        width=Count(4),
        heads=Count(2),
        hidden=Count(4),
        epsilon=Number(1e-12, low=0.0),
    ),
    "networks.DiT/attributes": call(
        lambda **given: _shapes(networks.DiT(**{**_DIT_SIZES, **given}), _SIGNALS, _NOISE),
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
        lambda **given: _shapes(networks.EDM2(**{**_EDM2_SIZES, **given}), _IMAGES, _NOISE),
        channels=Count(8),
        blocks=Count(1),
        head_channels=Count(8),
        dropout=Number(0.1, low=-0.1, high=1.0),
        noise_scale=Number(0.5, low=0.0),
    ),
    "networks.EDM2/levels": call(
        lambda multipliers: _shapes(networks.EDM2(**{**_EDM2_SIZES, "multipliers": (multipliers,)}), _IMAGES, _NOISE),
        multipliers=Count(1),
    ),
    "networks.EDM2/preset": call(networks.EDM2.preset, name=Choice("img64-s")),
    "networks.LogVariance": call(
        lambda noise: _applied(networks.LogVariance(features=4), noise),
        noise=Data(_NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
    ),
    "networks.LogVariance/attributes": call(
        lambda **given: _shapes(networks.LogVariance(**given), _NOISE),
        features=Count(4),
        noise_scale=Number(0.5, low=0.0),
    ),
    "networks.SongUNet": call(
        lambda x, noise: _applied(_SONG_UNET, x, noise), x=Data(_IMAGES, _EMPTY, alias=_NO_EXAMPLES), noise=_NOISE
    ),
    "networks.SongUNet/attributes": _attributes(
        networks.SongUNet,
        _IMAGES,
        _NOISE,
        channels=Count(4),
        blocks=Count(1),
        embedding=Choice("positional"),
        dropout=Number(0.1, low=-0.1, high=1.0),
        noise_scale=Number(32.0, low=0.0),
    ),
    "networks.SongUNet/levels": call(
        lambda multipliers: _shapes(networks.SongUNet(channels=4, multipliers=(1, multipliers)), _IMAGES, _NOISE),
        multipliers=Count(2),
    ),
    "networks.SongUNet/preset": call(lambda name: networks.SongUNet.preset(name), name=Choice("ddpmpp")),
    "networks.UNet": _noisy(_UNET, _SIGNALS),
    "networks.UNet/attributes": _attributes(
        networks.UNet,
        _SIGNALS,
        _NOISE,
        channels=Count(4),
        blocks=Count(1, least=0),
        heads=Count(1),
        patch=Count(1),
        conditioning_layers=Count(1, least=0),
        filters=Count(1, least=0),
    ),
    "networks.UNet/levels": call(
        lambda multipliers, factors: _shapes(
            networks.UNet(channels=4, multipliers=(1, multipliers), factors=(factors,)), _SIGNALS, _NOISE
        ),
        multipliers=Count(2),
        factors=Count(2),
    ),
    "networks.DDPMUNet": call(
        lambda x, noise: _applied(networks.DDPMUNet(**_DDPM_SIZES), x, noise),
        x=Data(_PICTURES, _EMPTY, alias=_NO_EXAMPLES),
        noise=_NOISE,
    ),
    "networks.DDPMUNet/attributes": call(
        lambda **given: _shapes(networks.DDPMUNet(**{**_DDPM_SIZES, **given}), _PICTURES, _NOISE),
        channels=Count(4, least=4),
        blocks=Count(1, least=0),
        groups=Count(2),
        dropout=Number(0.5, low=-0.1, high=1.1),
        noise_scale=Number(32.0, low=0.0),
    ),
    "networks.DDPMUNet/levels": call(
        lambda multipliers, attention_levels: _shapes(
            networks.DDPMUNet(channels=4, groups=2, multipliers=(1, multipliers), attention_levels=(attention_levels,)),
            _PICTURES,
            _NOISE,
        ),
        multipliers=Count(2),
        attention_levels=Count(1, least=0),
    ),
    "networks.DDPMUNet/preset": call(networks.DDPMUNet.preset, name=Choice("cifar10")),
    "networks.VDMUNet": _noisy(_VDM, _SIGNALS),
    "networks.VDMUNet/attributes": _attributes(
        networks.VDMUNet,
        _SIGNALS,
        _NOISE,
        channels=Count(4),
        depth=Count(1),
        log_snr_max=Number(13.3, low=-5.0),
        log_snr_min=Number(-5.0, high=13.3, alias="log_snr_max"),
        noise_scale=Number(4.0, low=0.0),
    ),
    "networks.VDMUNet/preset": call(
        lambda name: networks.VDMUNet.preset(name, channels=4, depth=1), name=Choice("cifar10")
    ),
    "networks.WaveNet": _noisy(_WAVENET, _SIGNALS),
    "networks.WaveNet/attributes": _attributes(
        networks.WaveNet,
        _SIGNALS,
        _NOISE,
        channels=Count(4),
        layers=Count(1),
        cycle=Count(1),
        dilation_base=Count(2),
        patch=Count(1),
    ),
    "networks.CausalWaveNet": call(lambda x: _applied(_CAUSAL_WAVENET, x), **_ONLY_X),
    "networks.CausalWaveNet/attributes": call(
        lambda **given: _shapes(networks.CausalWaveNet(**{**_CAUSAL_SIZES, **given}), _SIGNALS),
        outputs=Count(2),
        channels=Count(4),
        layers=Count(1),
        cycle=Count(1),
        dilation_base=Count(2),
        taps=Count(2, least=2),
    ),
    "networks.CausalTransformer": call(lambda x: _applied(_CAUSAL_DIT, x), **_ONLY_X),
    "networks.CausalTransformer/attributes": call(
        lambda **given: _shapes(networks.CausalTransformer(**{**_CAUSAL_DIT_SIZES, **given}), _SIGNALS),
        outputs=Count(2),
        depth=Count(1),
        width=Count(4),
        heads=Count(2),
        window=Count(2),
        mlp_ratio=Number(4.0, low=0.0),
        pattern=Choice("local"),
    ),
    "networks.TieredNetwork": call(lambda x: _applied(networks.TieredNetwork(**_TIERED, factor=2), x), **_ONLY_X),
    "networks.TieredNetwork/attributes": call(
        lambda factor: _shapes(networks.TieredNetwork(**_TIERED, factor=factor), _SIGNALS), factor=Count(2)
    ),
    "networks.Classifier": _noisy(_CLASSIFIER, _SIGNALS),
    "networks.Classifier/attributes": _attributes(
        networks.Classifier,
        _SIGNALS,
        _NOISE,
        num_classes=Count(3),
        channels=Count(4),
        blocks=Count(1, least=0),
        heads=Count(1),
        patch=Count(1),
    ),
    "networks.Autoencoder": call(lambda x: _applied(_AUTOENCODER, x), x=Data(_SIGNALS, {**_EMPTY, **_IMAGE})),
    "networks.Autoencoder/attributes": _attributes(
        networks.Autoencoder,
        _SIGNALS,
        data_channels=Count(1),
        latent_channels=Count(2),
        channels=Count(4),
        blocks=Count(1, least=0),
        patch=Count(1),
        codes=Count(3),
    ),
    "networks.Autoencoder/decode": call(
        lambda z: _shapes(_AUTOENCODER, z, method="decode"),
        z=Data(np.ones((2, 4, 4), np.float32), {"nan": "only traced here", **_EMPTY}),
    ),
    "networks.AutoencoderKL": call(lambda x: _applied(_KL, x), x=Data(_PICTURES, _EMPTY)),
    "networks.AutoencoderKL/attributes": call(
        lambda **given: _shapes(networks.AutoencoderKL(**{**_KL_SIZES, **given}), _PICTURES),
        data_channels=Count(3),
        latent_channels=Count(4),
        channels=Count(2),
        blocks=Count(1, least=0),
        groups=Count(2),
        scaling_factor=Number(0.5, low=0.0),
        shift_factor=Number(0.1),
    ),
    "networks.AutoencoderKL/encode": call(
        lambda x, eps: _shapes(_KL, x, eps, method="encode"),
        x=Data(_PICTURES, {"nan": "only traced here", **_EMPTY}, alias="mean"),
        eps=Data(np.ones((2, 2, 2, 4), np.float32), {"nan": "only traced here", "integer": "becomes float32"}),
    ),
    "networks.AutoencoderKL/decode": call(
        lambda z: _shapes(_KL, z, method="decode"),
        z=Data(np.ones((2, 4, 4), np.float32), {"nan": "only traced here", **_EMPTY}),
    ),
    "networks.AutoencoderKL/preset": call(networks.AutoencoderKL.preset, name=Choice("sdxl")),
    "networks.Conditioning": call(
        lambda noise, labels, batch, vector: _shapes(
            networks.Conditioning(4, num_classes=3, vector_size=2), noise, labels, batch, vector
        ),
        noise=Data(_NOISE, {"integer": "becomes float32", "nan": "only traced here"}),
        labels=_LABELS,
        batch=Count(2, least=0),
        vector=Data(np.ones((2, 2), np.float32), {"integer": "becomes float32", "nan": "only traced here"}),
    ),
    "networks.fourier_features": call(
        networks.fourier_features,
        noise=Data(_NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
        features=Count(4, least=4),
        lowest=Number(0.25, low=0.0, high=33.0),
        highest=Number(32.0, low=0.25),
    ),
    "networks.timestep_features": call(
        networks.timestep_features,
        timestep=Data(_NOISE, {"shape": "elementwise", "empty": "elementwise", "integer": "becomes float32"}),
        features=Count(4, least=2),
    ),
    "networks.with_new_parameters": call(
        networks.with_new_parameters,
        trained=Shaped({"bias": np.ones(2, np.float32)}),
        fresh={"bias": np.zeros(2, np.float32), "scalars": {"bias": np.zeros(2, np.float32)}},
    ),
    "networks.drop_labels": call(
        networks.drop_labels,
        key=_KEY,
        labels=np.array([0, 2]),
        rate=Number(0.5, low=-0.1, high=1.1),
        null_label=Classes(3, {"negative": "any integer", "too large": "any integer"}, num_classes=4),
    ),
    "networks.drop_conditions": call(
        lambda vector, rates, joint_rate: networks.drop_conditions(
            _KEY,
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
        condition=Data(_SIGNALS, alias="level"),
        level=Data(np.full(2, 0.5, np.float32), {"integer": "0 and 1 are levels"}),
        eps=Data(_SIGNALS, {"integer": "becomes float32"}),
    ),
    "networks.noise_augmented/level": call(
        lambda level: networks.noise_augmented(networks.Masked(_SIGNALS), level, _SIGNALS),
        level=Number(0.5, low=-0.1, high=1.1),
    ),
    "networks.FeatureDiscriminator": call(
        lambda features, noise, labels: _head(features, noise, labels),
        features=Data(_SIGNALS, {"shape": "one axis more makes an image"}),
        noise=Data(_NOISE, {"integer": "becomes float32"}, alias="features"),
        labels=_LABELS,
    ),
    "networks.FeatureDiscriminator/attributes": call(
        lambda **given: _shapes(networks.FeatureDiscriminator(**given), {"deep": _VECTORS}, _NOISE)["deep"],
        channels=Count(4),
        layers=Count(1, least=0),
        num_classes=Count(3),
    ),
    "networks.MultiScaleDiscriminator": call(
        lambda x: _applied(_SCALES, x).logits[0], x=Data(np.ones((1, 8, 1), np.float32))
    ),
    "networks.MultiScaleDiscriminator/attributes": call(
        lambda **given: _shapes(networks.MultiScaleDiscriminator(**{**_SMALL, **given}), np.ones((1, 8, 1))).logits[0],
        scales=Count(2),
        channels=Count(4),
        max_channels=Count(4),
        depth=Count(1, least=0),
        factor=Count(2),
    ),
    "networks.MultiPeriodDiscriminator": call(
        lambda x: _applied(_PERIODS, x).logits[0], x=Data(np.ones((1, 8, 1), np.float32))
    ),
    "networks.MultiPeriodDiscriminator/attributes": call(
        lambda periods, **given: _shapes(
            networks.MultiPeriodDiscriminator((periods,), **{**_SMALL, **given}), np.ones((1, 8, 1))
        ).logits[0],
        periods=Count(2),
        channels=Count(4),
        max_channels=Count(4),
        depth=Count(1, least=0),
        stride=Count(2),
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
        z=Data(_VECTORS, {**_EMPTY, "shape": "any shape"}),
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
    variables = _MLP.init(_KEY, _VECTORS, _NOISE)
    return networks.features(_MLP, variables, _VECTORS, _NOISE, layers=[layers])


EXEMPT = {
    "networks.attention.attend": "takes what the networks give it, which they check",
    "networks.dit.positions": "takes the sizes of a network, which it checks",
    "networks.DiscriminatorOutput": "a result",
    "networks.Masked": "a record of a condition, which the networks check",
    "networks.Posterior": "a result",
    "networks.Quantised": "a result",
    "networks.TextFeatures": "a result",
    "networks.normalise_weights": "takes a tree of arrays of any values",
    "networks.layer_names": "takes what the network takes, which the network checks",
}
