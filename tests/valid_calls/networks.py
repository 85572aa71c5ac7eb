"""Networks: a valid call of each."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import networks
from valid_calls.common import EACH, FLOATS, KEY, floats, ones
from valid_calls.kinds import Classes, Data, call

VECTORS, SIGNALS, IMAGES = (np.ones(shape, np.float32) for shape in ((2, 3), (2, 4, 1), (2, 2, 2, 1)))
_PICTURES, _SOUND = ones(2, 4, 4, 3), ones(1, 8, 1)
LABELS = Classes(np.array([0, 2]), "negative: NaN; too large: NaN", num_classes=4)
NETWORKS: dict[str, Any] = {}
"""The network of a row by its name."""


def shapes(network, *inputs, **options):
    """The shapes of the output of a network, from tracing alone."""
    return jax.eval_shape(lambda: network.init_with_output(KEY, *inputs, **options)[0])


@functools.cache
def _compiled(network):
    return jax.jit(network.apply)


def applied(network, *inputs):
    """The output of a network whose parameters are all 0.1, compiled once for each shape."""
    if not all(hasattr(leaf, "shape") for leaf in jax.tree.leaves(inputs[0])):
        raise TypeError(f"x must be an array, got {inputs[0]}")
    params = jax.eval_shape(lambda: network.init(KEY, *inputs))
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), params)
    return _compiled(network)(params, *inputs)


def of(network, answer=lambda output: output, run=applied, **inputs):
    """The row of a network and of its inputs in turn."""
    NETWORKS[f"networks.{type(network).__name__}"] = network
    return call(lambda **given: answer(run(network, *given.values())), **inputs)


def _noisy(network, x, answered="empty, shape"):
    """A network of noisy data; where the batch is empty, an error names the noise first."""
    return of(network, x=Data(x, answered, alias="noise"), noise=EACH)


_SMALL = {"channels": 4, "multipliers": (1,)}
_MLP = networks.MLP(features=4, blocks=1, num_classes=3, vector_size=2, map_shape=(1,))
_AUTOENCODER = networks.Autoencoder(**_SMALL, codes=3)
_KL = networks.AutoencoderKL(channels=2, multipliers=(1, 2), blocks=1, groups=2)
_WAVENET = networks.CausalWaveNet(outputs=2, channels=4, layers=1, cycle=1)
_SMALL_DISCRIMINATOR = {"channels": 4, "max_channels": 4, "depth": 1}
_ONLY_TRACED = "nan: only traced here"
_CODES, _PAIRS = floats([0.0, 0.0], [1.0, 0.0]), ones(3, 2)
_NOISE = Data(EACH, "shape, empty, integer")
USUAL = {
    "networks": {
        "index": Classes(np.array([0, 1]), num_classes=2),
    }
}
ROWS = {
    "networks.MLP": of(
        _MLP,
        x=Data(VECTORS, alias="dense_map"),
        noise=FLOATS,
        labels=LABELS,
        vector=Data(ones(2, 2), "integer"),
        dense_map=Data(ones(2, 1), "integer"),
    ),
    "networks.DiT": _noisy(networks.DiT(patch=2, depth=1, width=4, heads=2), SIGNALS),
    "networks.TextEncoder": of(
        networks.TextEncoder(vocabulary=4, max_length=2, depth=1, width=4, heads=2, hidden=4),
        lambda output: output.pooled,
        ids=Classes(np.array([[1, 2], [3, 0]]), num_classes=4),
        mask=np.ones((2, 2), bool),
    ),
    "networks.EDM2": _noisy(networks.EDM2(channels=8, multipliers=(1,), head_channels=8), IMAGES, "empty"),
    "networks.code_counts": call(),
    "networks.LogVariance": of(networks.LogVariance(features=4), noise=_NOISE),
    "networks.SongUNet": _noisy(networks.SongUNet(**_SMALL), IMAGES, "empty"),
    "networks.UNet": _noisy(networks.UNet(**_SMALL), SIGNALS),
    "networks.ResidualUNet": _noisy(networks.ResidualUNet(**_SMALL, blocks=0), SIGNALS),
    "networks.WaveNet": _noisy(networks.WaveNet(channels=4, layers=1), SIGNALS),
    "networks.Classifier": _noisy(networks.Classifier(num_classes=3, **_SMALL), SIGNALS),
    "networks.Autoencoder": of(_AUTOENCODER, x=Data(SIGNALS, "empty, shape")),
    "networks.AutoencoderKL": of(_KL, x=Data(_PICTURES, "empty")),
    "networks.Conditioning": of(
        networks.Conditioning(4, num_classes=3, vector_size=2),
        run=shapes,
        noise=Data(EACH, f"integer; {_ONLY_TRACED}"),
        labels=LABELS,
        batch=2,
        vector=Data(ones(2, 2), f"integer; {_ONLY_TRACED}"),
    ),
    "networks.CausalWaveNet": of(_WAVENET, x=Data(SIGNALS)),
    "networks.PixelCNN": of(networks.PixelCNN(columns=1, outputs=2, channels=4, layers=1), x=Data(SIGNALS)),
    "networks.CausalTransformer": of(
        networks.CausalTransformer(outputs=2, depth=1, width=4, heads=2, window=2), x=Data(SIGNALS)
    ),
    "networks.TieredNetwork": of(
        networks.TieredNetwork(_WAVENET.clone(), _WAVENET.clone(map_size=1), factor=2), x=Data(SIGNALS)
    ),
    "networks.FeatureDiscriminator": of(
        networks.FeatureDiscriminator(channels=4, num_classes=4),
        lambda logits: logits["deep"],
        features=Data(SIGNALS, "shape", of=lambda x: {"deep": x}),
        noise=Data(EACH, "integer", alias="features"),
        labels=LABELS,
    ),
    "networks.MultiScaleDiscriminator": of(
        networks.MultiScaleDiscriminator(scales=2, factor=2, **_SMALL_DISCRIMINATOR),
        lambda output: output.logits[0],
        x=Data(_SOUND),
    ),
    "networks.RandomWindowDiscriminator": of(
        networks.RandomWindowDiscriminator((4,), **_SMALL_DISCRIMINATOR),
        lambda output: output.logits[0],
        x=Data(_SOUND, "nan: not in a window"),
        place=Data(np.full((len(_SOUND), 1, 1), 0.5, np.float32), alias="x"),
    ),
    "networks.TranslationNetwork": of(
        networks.TranslationNetwork(domains=3, data_channels=SIGNALS.shape[-1], channels=4, blocks=1),
        run=shapes,
        x=Data(SIGNALS, f"empty; {_ONLY_TRACED}"),
        domain=Classes(np.array([0, 2]), num_classes=3),
    ),
    "networks.DualEncoder": of(
        networks.DualEncoder(features=3, **_SMALL),
        lambda output: jnp.concatenate(output[:2]),
        x=Data(IMAGES),
        captions=Data(VECTORS),
    ),
    "networks.drop_labels": call(labels=np.array([0, 2]), null_label=Classes(3, "negative, too large", num_classes=4)),
    "networks.nearest_code": call(
        x=Data(_PAIRS, "nan: K, which is no code; empty: no vectors, no codes", alias="codes"),
        codes=Data(_CODES, "nan: K, which is no code"),
    ),
    "networks.quantise": call(x=Data(_PAIRS, "empty: no vectors, no codes", alias="codes"), codes=Data(_CODES)),
    "networks.sum_of_codes": call(
        index=Classes(np.array([[0, 1]]), num_classes=2), codes=Data(_CODES[None], alias="index")
    ),
}
