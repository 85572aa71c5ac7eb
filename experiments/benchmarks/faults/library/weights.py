"""Weights in and out: files that are missing, damaged or hostile are in ``tests/io``; here the arguments."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Count, call
from scorekit import io
from scorekit.io.preconditioning import ve
from scorekit.networks import MLP

_MLP = MLP(features=4, blocks=1)
_SHAPES = jax.eval_shape(_MLP.init, jax.random.key(0), np.ones((1, 2), np.float32), 0.0)
_LOADED = io.Loaded(_MLP, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _SHAPES), ve(), (2,))


ROWS: dict[str, Call] = {
    "io.Loaded": call(lambda num: _LOADED.prior(jax.random.key(0), num), num=Count(2)),
}

EXEMPT: dict[str, str] = {
    "io.load": "takes a path; tests/io/test_loading.py has its errors",
    "io.export": "takes a path and what load returns; tests/io/test_loading.py has its errors",
}
