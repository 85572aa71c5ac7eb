"""Batches, augmentation and quantisation; assignments and the tuning of grids."""

import numpy as np

from scorekit import denoisers, densities, solvers, tuning
from valid_calls.common import FLOW, TS, floats
from valid_calls.kinds import Classes, Data, call

_IMAGES = np.linspace(-1.0, 1.0, 32, dtype=np.float32).reshape(2, 4, 4, 1)
_CODES = np.array([0, 3, 1])
_PIXELS = Classes(_CODES, num_classes=4)


_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(1, np.float32), std=0.5), FLOW)
_X = floats([1.0], [-0.5])


def _tune(ts, noise, end, held_out, **kwargs):
    pairs, held_out = tuning.Pairs(noise, end), tuning.Pairs(held_out, 0.5 * _X[None])
    return tuning.tune(_DENOISER, FLOW, solvers.Euler(), {"given": ts}, pairs, held_out, **kwargs).after


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
    "tuning.tune": call(
        _tune,
        ts=Data(TS, alias="grids"),
        noise=Data(_X[None], alias="pairs"),
        end=Data(0.5 * _X[None], alias="pairs"),
        held_out=Data(_X[None]),
        steps=1,
    ),
}
