"""Discriminators on features and on waveforms: their attributes are checked when they are made or traced."""

# pyright: reportArgumentType=false

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, Data, call
from experiments.benchmarks.faults.library.networks import (
    KEY,
    LABELS,
    NOISE,
    SIGNALS,
    VECTORS,
    applied,
    compiled,
    shapes,
)
from scorekit import networks

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


ROWS: dict[str, Call] = {
    "networks.FeatureDiscriminator": call(
        lambda features, noise, labels: _head(features, noise, labels),
        features=Data(SIGNALS, {"shape": "one axis more makes an image"}),
        noise=Data(NOISE, {"integer": "becomes float32"}, alias="features"),
        labels=LABELS,
    ),
    "networks.FeatureDiscriminator/attributes": call(
        lambda **given: shapes(networks.FeatureDiscriminator(**given), {"deep": VECTORS}, NOISE)["deep"],
        channels=Count(4),
        layers=Count(1, least=0),
        num_classes=Count(3),
    ),
    "networks.MultiScaleDiscriminator": call(
        lambda x: applied(_SCALES, x).logits[0], x=Data(np.ones((1, 8, 1), np.float32))
    ),
    "networks.MultiScaleDiscriminator/attributes": call(
        lambda **given: shapes(networks.MultiScaleDiscriminator(**{**_SMALL, **given}), np.ones((1, 8, 1))).logits[0],
        scales=Count(2),
        channels=Count(4),
        max_channels=Count(4),
        depth=Count(1, least=0),
        factor=Count(2),
    ),
    "networks.MultiPeriodDiscriminator": call(
        lambda x: applied(_PERIODS, x).logits[0], x=Data(np.ones((1, 8, 1), np.float32))
    ),
    "networks.MultiPeriodDiscriminator/attributes": call(
        lambda **given: shapes(
            networks.MultiPeriodDiscriminator(**{"periods": (2,), **_SMALL, **given}), np.ones((1, 8, 1))
        ).logits[0],
        channels=Count(4),
        max_channels=Count(4),
        depth=Count(1, least=0),
        stride=Count(2),
    ),
}

EXEMPT = {"networks.DiscriminatorOutput": "a result"}
