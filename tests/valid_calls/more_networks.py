"""Autoregressive networks, discriminators and embeddings."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import networks
from valid_calls.kinds import Classes, Count, Data, call
from valid_calls.networks import FROM_0, KEY, LABELS, NOISE, SIGNALS, VECTORS, applied, attributes, compiled, shapes

_CAUSAL_SIZES = {"outputs": 2, "channels": 4, "layers": 1, "cycle": 1}
_CAUSAL_WAVENET = networks.CausalWaveNet(**_CAUSAL_SIZES)
_CAUSAL_DIT_SIZES = {"outputs": 2, "depth": 1, "width": 4, "heads": 2, "window": 2}
_CAUSAL_DIT = networks.CausalTransformer(**_CAUSAL_DIT_SIZES)
_TIERED = {"upper": networks.CausalWaveNet(**_CAUSAL_SIZES), "lower": _CAUSAL_WAVENET.clone(map_size=1)}
_ONLY_X = {"x": Data(SIGNALS)}
_SMALL = {"channels": 4, "max_channels": 4, "depth": 1}
_SCALES = networks.MultiScaleDiscriminator(scales=2, factor=2, **_SMALL)
_PERIODS = networks.MultiPeriodDiscriminator((2,), **_SMALL)
_HEAD = networks.FeatureDiscriminator(channels=4, num_classes=4)


def _head(features, noise, labels):
    """The logits of a discriminator on one layer, all parameters 0.1."""
    given = {"deep": features}, noise, labels
    shapes = jax.eval_shape(lambda: _HEAD.init(KEY, *given))
    variables = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.1, leaf.dtype), shapes)
    return compiled(_HEAD)(variables, *given)["deep"]


_UNIT = np.eye(2, 3, dtype=np.float32)
_IMAGES = np.ones((2, 2, 2, 1), np.float32)
_SMALL_EMBEDDINGS = {"features": 3, "channels": 4, "multipliers": (1,)}
_NETWORK = networks.DualEncoder(**_SMALL_EMBEDDINGS)
USUAL = {"factor": Count(2), "x": Data(np.ones((1, 8, 1), np.float32)), "weight": 0.5}
ROWS = {
    "networks.CausalWaveNet": call(lambda x: applied(_CAUSAL_WAVENET, x), **_ONLY_X),
    "networks.CausalWaveNet/attributes": attributes(
        networks.CausalWaveNet, SIGNALS, **_CAUSAL_SIZES, dilation_base=2, taps=Count(2, least=2)
    ),
    "networks.CausalTransformer": call(lambda x: applied(_CAUSAL_DIT, x), **_ONLY_X),
    "networks.CausalTransformer/attributes": attributes(
        networks.CausalTransformer, SIGNALS, **_CAUSAL_DIT_SIZES, mlp_ratio=4.0, pattern="local"
    ),
    "networks.TieredNetwork": call(lambda x: applied(networks.TieredNetwork(**_TIERED, factor=2), x), **_ONLY_X),
    "networks.TieredNetwork/attributes": call(
        lambda factor: shapes(networks.TieredNetwork(**_TIERED, factor=factor), SIGNALS)
    ),
    "networks.FeatureDiscriminator": call(
        lambda features, noise, labels: _head(features, noise, labels),
        features=Data(SIGNALS, "shape"),
        noise=Data(NOISE, "integer", alias="features"),
        labels=LABELS,
    ),
    "networks.FeatureDiscriminator/attributes": attributes(
        networks.FeatureDiscriminator, {"deep": VECTORS}, NOISE, channels=4, layers=FROM_0, num_classes=3
    ),
    "networks.MultiScaleDiscriminator": call(lambda x: applied(_SCALES, x).logits[0]),
    "networks.MultiScaleDiscriminator/attributes": attributes(
        networks.MultiScaleDiscriminator,
        np.ones((1, 8, 1)),
        scales=2,
        channels=4,
        max_channels=4,
        depth=FROM_0,
        factor=2,
    ),
    "networks.MultiPeriodDiscriminator": call(lambda x: applied(_PERIODS, x).logits[0]),
    "networks.MultiPeriodDiscriminator/periods": call(
        lambda periods: shapes(networks.MultiPeriodDiscriminator((periods,), **_SMALL), np.ones((1, 8, 1))).logits[0],
        periods=Count(2),
    ),
    "networks.MultiPeriodDiscriminator/attributes": attributes(
        networks.MultiPeriodDiscriminator,
        np.ones((1, 8, 1)),
        **{"periods": (2,), **_SMALL, "depth": FROM_0, "stride": 2},
    ),
    "losses.contrastive.contrastive_loss": call(
        pictures=Data(_UNIT),
        captions=Data(_UNIT),
        log_temperature=0.0,
        subjects=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
    ),
    "losses.contrastive.slerp": call(start=Data(_UNIT, alias="end"), end=Data(_UNIT[::-1].copy())),
    "losses.contrastive.text_difference": call(
        picture=Data(_UNIT, alias="before"), before=Data(_UNIT[::-1].copy()), after=Data(_UNIT)
    ),
    "losses.contrastive.closest": call(
        candidates=Data(np.ones((2, 4, 3), np.float32)), target=Data(_UNIT, alias="candidates")
    ),
    "networks.DualEncoder": call(
        lambda x, captions: jnp.concatenate(applied(_NETWORK, x, captions)[:2]), x=Data(_IMAGES), captions=Data(VECTORS)
    ),
    "networks.DualEncoder/attributes": attributes(
        networks.DualEncoder, _IMAGES, VECTORS, **_SMALL_EMBEDDINGS, blocks=FROM_0, heads=1, patch=1
    ),
}
