"""Embeddings of images and captions, and the network that makes them."""

# pyright: reportArgumentType=false

import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Classes, Count, Data, call
from experiments.benchmarks.faults.library.networks import VECTORS, applied, shapes
from scorekit import networks
from scorekit.losses import contrastive

_UNIT = np.eye(2, 3, dtype=np.float32)
_IMAGES = np.ones((2, 2, 2, 1), np.float32)
_SMALL = {"features": 3, "channels": 4, "multipliers": (1,)}
_NETWORK = networks.DualEncoder(**_SMALL)

ROWS: dict[str, Call] = {
    "losses.contrastive.contrastive_loss": call(
        contrastive.contrastive_loss,
        pictures=Data(_UNIT),
        captions=Data(_UNIT),
        log_temperature=0.0,
        subjects=Classes(np.array([0, 1]), {"negative": "any integers", "too large": "any integers"}, num_classes=2),
    ),
    "losses.contrastive.slerp": call(
        contrastive.slerp,
        start=Data(_UNIT, alias="end"),
        end=Data(_UNIT[::-1].copy()),
        weight=0.5,
    ),
    "losses.contrastive.text_difference": call(
        contrastive.text_difference,
        picture=Data(_UNIT, alias="before"),
        before=Data(_UNIT[::-1].copy()),
        after=Data(_UNIT),
        weight=0.5,
    ),
    "losses.contrastive.closest": call(
        contrastive.closest,
        candidates=Data(np.ones((2, 4, 3), np.float32)),
        target=Data(_UNIT, alias="candidates"),
    ),
    "networks.DualEncoder": call(
        lambda x, captions: jnp.concatenate(applied(_NETWORK, x, captions)[:2]),
        x=Data(_IMAGES),
        captions=Data(VECTORS),
    ),
    "networks.DualEncoder/attributes": call(
        lambda **given: shapes(networks.DualEncoder(**{**_SMALL, **given}), _IMAGES, VECTORS)[0],
        features=Count(3),
        channels=Count(4),
        blocks=Count(1, least=0),
        heads=Count(1),
        patch=Count(1),
    ),
}

EXEMPT: dict[str, str] = {}
"""Every function here takes values."""
