"""Batches, augmentation and quantisation; assignments."""

import numpy as np

from valid_calls.kinds import Classes, Data, call

_IMAGES = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(2, 4, 4, 1)
_CODES = np.array([0, 3, 1])
_PIXELS = Classes(_CODES, num_classes=4)


USUAL = {
    "data": {
        "x": Data(_IMAGES, "integer; nan: pixels are moved, not computed with"),
        "bins": 4,
    },
}
_BY_USUAL = """
    data.random_crop data.random_flip
"""
ROWS = {
    **dict.fromkeys(_BY_USUAL.split(), call()),
    "data.edm_augment": call(x=Data(_IMAGES)),
    "data.to_unit": call(x=_PIXELS),
    "data.dequantise": call(x=_PIXELS),
    "training.optimal_assignment": call(cost=Data(np.eye(2, dtype=np.float32))),
}
