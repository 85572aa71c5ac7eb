"""Networks: their attributes are checked when they are traced, so that only the valid calls compile."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import networks
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, call

KEY = jax.random.key(0)
VECTORS, SIGNALS = np.ones((2, 3), np.float32), np.ones((2, 4, 1), np.float32)
NOISE = np.ones(2, np.float32)
LABELS = Classes(np.array([0, 2]), "negative: NaN; too large: NaN", num_classes=4)


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


FROM_0, DROPOUT = Count(1, least=0), Number(0.1, low=-0.1, high=1.0)


def attributes(kind, *inputs, **values):
    """Attributes of a network, traced: a plain integer is a count of at least 1, a number is above 0, a text a name."""
    kinds = {int: Count, float: lambda value: Number(value, low=0.0), str: Choice}
    wrapped = {name: kinds[type(value)](value) if type(value) in kinds else value for name, value in values.items()}
    return call(lambda **given: shapes(kind(**given), *inputs), **wrapped)


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


def _noisy(network, x, answered="empty, shape"):
    """A network of noisy data; where the batch is empty, an error names the noise first."""
    return call(lambda x, noise: applied(network, x, noise), x=Data(x, answered, alias="noise"), noise=NOISE)


def _features(layers):
    variables = _MLP.init(KEY, VECTORS, NOISE)
    return networks.features(_MLP, variables, VECTORS, NOISE, layers=[layers])


USUAL = {
    "multipliers": Count(2),
    "labels": LABELS,
    "noise": Data(NOISE, "shape, empty, integer"),
    "name": Choice("cifar10"),
    "z": Data(np.ones((2, 4, 4), np.float32), "empty; nan: only traced here"),
    "index": _USED,
}
ROWS = {
    "networks.MLP": call(
        lambda x, noise, labels, vector, dense_map: applied(_MLP, x, noise, labels, vector, dense_map),
        x=Data(VECTORS, alias="dense_map"),
        noise=Data(NOISE, "integer"),
        vector=Data(np.ones((2, 2), np.float32), "integer"),
        dense_map=Data(np.ones((2, 1), np.float32), "integer"),
    ),
    "networks.MLP/attributes": attributes(
        networks.MLP, VECTORS, NOISE, features=4, blocks=FROM_0, num_classes=3, vector_size=2
    ),
    "networks.ADM": _noisy(_ADM, SIGNALS),
    "networks.ADM/levels": call(
        lambda multipliers: shapes(networks.ADM(channels=4, multipliers=(multipliers,), blocks=0), SIGNALS, NOISE),
        multipliers=Count(1),
    ),
    "networks.ADM/attributes": attributes(
        networks.ADM,
        SIGNALS,
        NOISE,
        multipliers=(1,),
        channels=4,
        blocks=Count(0, least=0),
        heads=2,
        head_channels=2,
        noise_channels=4,
        group_channels=4,
        noise_scale=32.0,
        dropout=DROPOUT,
    ),
    "networks.ADM/preset": call(networks.ADM.preset, name=Choice("lsun")),
    "networks.DiT": _noisy(_DIT, SIGNALS),
    "networks.TextEncoder": call(
        lambda ids, mask: applied(_TEXT, ids, mask).pooled,
        ids=Classes(np.array([[1, 2], [3, 0]]), num_classes=4),
        mask=np.ones((2, 2), bool),
    ),
    "networks.TextEncoder/attributes": attributes(networks.TextEncoder, _IDS, _IDS == 1, **_TEXT_SIZES, epsilon=1e-12),
    "networks.DiT/attributes": attributes(
        networks.DiT, SIGNALS, NOISE, **_DIT_SIZES, mlp_ratio=4.0, noise_scale=32.0, attention="xla", token_size=2
    ),
    "networks.EDM2": _noisy(_EDM2, _IMAGES, "empty"),
    "networks.EDM2/attributes": attributes(
        networks.EDM2, _IMAGES, NOISE, **_EDM2_SIZES, blocks=1, dropout=DROPOUT, noise_scale=0.5
    ),
    "networks.EDM2/levels": call(
        lambda multipliers: shapes(networks.EDM2(**{**_EDM2_SIZES, "multipliers": (multipliers,)}), _IMAGES, NOISE),
        multipliers=Count(1),
    ),
    "networks.EDM2/preset": call(networks.EDM2.preset, name=Choice("img64-s")),
    "networks.LogVariance": call(lambda noise: applied(networks.LogVariance(features=4), noise)),
    "networks.LogVariance/attributes": attributes(networks.LogVariance, NOISE, features=4, noise_scale=0.5),
    "networks.SongUNet": _noisy(_SONG_UNET, _IMAGES, "empty"),
    "networks.SongUNet/attributes": attributes(
        networks.SongUNet,
        _IMAGES,
        NOISE,
        channels=4,
        blocks=1,
        embedding="positional",
        dropout=DROPOUT,
        noise_scale=32.0,
    ),
    "networks.SongUNet/levels": call(
        lambda multipliers: shapes(networks.SongUNet(channels=4, multipliers=(1, multipliers)), _IMAGES, NOISE)
    ),
    "networks.SongUNet/preset": call(lambda name: networks.SongUNet.preset(name), name=Choice("ddpmpp")),
    "networks.UNet": _noisy(_UNET, SIGNALS),
    "networks.UNet/attributes": attributes(
        networks.UNet,
        SIGNALS,
        NOISE,
        channels=4,
        blocks=FROM_0,
        heads=1,
        patch=1,
        conditioning_layers=FROM_0,
        filters=FROM_0,
    ),
    "networks.UNet/levels": call(
        lambda multipliers, factors: shapes(
            networks.UNet(channels=4, multipliers=(1, multipliers), factors=(factors,)), SIGNALS, NOISE
        ),
        factors=Count(2),
    ),
    "networks.DDPMUNet": _noisy(networks.DDPMUNet(**_DDPM_SIZES), _PICTURES, "empty"),
    "networks.DDPMUNet/attributes": attributes(
        networks.DDPMUNet,
        _PICTURES,
        NOISE,
        multipliers=(1,),
        channels=Count(4, least=4),
        blocks=FROM_0,
        groups=2,
        dropout=Number(0.5, low=-0.1, high=1.1),
        noise_scale=32.0,
    ),
    "networks.DDPMUNet/levels": call(
        lambda multipliers, attention_levels: shapes(
            networks.DDPMUNet(channels=4, groups=2, multipliers=(1, multipliers), attention_levels=(attention_levels,)),
            _PICTURES,
            NOISE,
        ),
        attention_levels=Count(1, least=0),
    ),
    "networks.DDPMUNet/preset": call(networks.DDPMUNet.preset),
    "networks.VDMUNet": _noisy(_VDM, SIGNALS),
    "networks.VDMUNet/attributes": attributes(
        networks.VDMUNet,
        SIGNALS,
        NOISE,
        channels=4,
        depth=1,
        log_snr_max=Number(13.3, low=-5.0),
        log_snr_min=Number(-5.0, alias="log_snr_max", high=13.3),
        noise_scale=4.0,
    ),
    "networks.VDMUNet/preset": call(lambda name: networks.VDMUNet.preset(name, channels=4, depth=1)),
    "networks.WaveNet": _noisy(_WAVENET, SIGNALS),
    "networks.WaveNet/attributes": attributes(
        networks.WaveNet, SIGNALS, NOISE, channels=4, layers=1, cycle=1, dilation_base=2, patch=1
    ),
    "networks.Classifier": _noisy(_CLASSIFIER, SIGNALS),
    "networks.Classifier/attributes": attributes(
        networks.Classifier, SIGNALS, NOISE, num_classes=3, channels=4, blocks=FROM_0, heads=1, patch=1
    ),
    "networks.Autoencoder": call(lambda x: applied(_AUTOENCODER, x), x=Data(SIGNALS, "empty, shape")),
    "networks.Autoencoder/attributes": attributes(
        networks.Autoencoder, SIGNALS, data_channels=1, latent_channels=2, channels=4, blocks=FROM_0, patch=1, codes=3
    ),
    "networks.Autoencoder/decode": call(lambda z: shapes(_AUTOENCODER, z, method="decode")),
    "networks.AutoencoderKL": call(lambda x: applied(_KL, x), x=Data(_PICTURES, "empty")),
    "networks.AutoencoderKL/attributes": attributes(
        networks.AutoencoderKL,
        _PICTURES,
        multipliers=(1, 2),
        data_channels=3,
        latent_channels=4,
        channels=2,
        blocks=FROM_0,
        groups=2,
        scaling_factor=0.5,
        shift_factor=Number(0.1),
    ),
    "networks.AutoencoderKL/encode": call(
        lambda x, eps: shapes(_KL, x, eps, method="encode"),
        x=Data(_PICTURES, "empty; nan: only traced here", alias="mean"),
        eps=Data(np.ones((2, 2, 2, 4), np.float32), "integer; nan: only traced here"),
    ),
    "networks.AutoencoderKL/decode": call(lambda z: shapes(_KL, z, method="decode")),
    "networks.AutoencoderKL/preset": call(networks.AutoencoderKL.preset, name=Choice("sdxl")),
    "networks.Conditioning": call(
        lambda noise, labels, batch, vector: shapes(
            networks.Conditioning(4, num_classes=3, vector_size=2), noise, labels, batch, vector
        ),
        noise=Data(NOISE, "integer; nan: only traced here"),
        batch=Count(2, least=0),
        vector=Data(np.ones((2, 2), np.float32), "integer; nan: only traced here"),
    ),
    "networks.Conditioning/attributes": attributes(networks.Conditioning, NOISE, None, 2, features=4),
    "networks.fourier_features": call(
        features=Count(4, least=4), lowest=Number(0.25, low=0.0, high=33.0), highest=Number(32.0, low=0.25)
    ),
    "networks.timestep_features": call(timestep=Data(NOISE, "shape, empty, integer"), features=Count(4, least=2)),
    "networks.with_new_parameters": call(
        trained=Shaped({"bias": np.ones(2, np.float32)}),
        fresh={"bias": np.zeros(2, np.float32), "scalars": {"bias": np.zeros(2, np.float32)}},
    ),
    "networks.drop_labels": call(
        key=KEY,
        labels=np.array([0, 2]),
        rate=Number(0.5, low=-0.1, high=1.1),
        null_label=Classes(3, "negative, too large", num_classes=4),
    ),
    "networks.drop_conditions": call(
        lambda vector, rates, joint_rate: networks.drop_conditions(
            KEY,
            {"vector": networks.Masked(vector, np.ones(2, bool))},
            {"vector": networks.ABSENT},
            {"vector": rates},
            joint_rate,
        ),
        vector=Data(np.ones((2, 2), np.float32), "shape, integer; nan: any values", alias="leading batch axis"),
        rates=Number(0.0, low=-0.1, high=1.1),
        joint_rate=Number(0.0, low=-0.1, high=1.1),
    ),
    "networks.noise_augmented": call(
        lambda condition, level, eps: networks.noise_augmented(networks.Masked(condition), level, eps),
        condition=Data(SIGNALS, alias="level"),
        level=Data(np.full(2, 0.5, np.float32), "integer: 0 and 1 are levels"),
        eps=Data(SIGNALS, "integer"),
    ),
    "networks.noise_augmented/level": call(
        condition=networks.Masked(SIGNALS), eps=SIGNALS, level=Number(0.5, low=-0.1, high=1.1)
    ),
    "networks.features": call(lambda layers: jax.eval_shape(lambda: _features(layers)), layers=Choice("dense_0")),
    "networks.pool": call(
        lambda feature, cells: networks.pool(jnp.asarray(feature), cells),
        feature=Data(np.ones((1, 2, 2, 1), np.float32), "empty, integer"),
        cells=Count(1),
    ),
    "networks.fixed_noise_kl": call(z=Data(VECTORS, "empty, shape"), noise=Number(0.5, low=0.0)),
    "networks.nearest_code": call(
        x=Data(_PAIRS, "nan: K, which is no code; empty: no vectors, no codes", alias="codes"),
        codes=Data(_CODES, "nan: K, which is no code"),
    ),
    "networks.quantise": call(x=Data(_PAIRS, "empty: no vectors, no codes", alias="codes"), codes=Data(_CODES)),
    "networks.revival_loss": call(
        x=Data(_PAIRS, "nan: a vector that no unused code is paired with", alias="codes"),
        codes=Data(_CODES, "nan: a code in use has no part in this loss"),
    ),
    "networks.code_counts": call(num_codes=Count(2)),
    "networks.perplexity": call(counts=Data(np.array([1.0, 2.0], np.float32), "integer, shape")),
}
