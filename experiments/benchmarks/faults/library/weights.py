"""Weights in and out: files that are missing, damaged or hostile are in ``tests/io``; here the arguments."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Choice, Count, Number, call
from scorekit import io
from scorekit.io.preconditioning import ve
from scorekit.networks import MLP

_MLP = MLP(features=4, blocks=1)
_SHAPES = jax.eval_shape(_MLP.init, jax.random.key(0), np.ones((1, 2), np.float32), 0.0)
_LOADED = io.Loaded(_MLP, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _SHAPES), ve(), (2,))


ROWS: dict[str, Call] = {
    "io.Loaded": call(lambda num: _LOADED.prior(jax.random.key(0), num), num=Count(2)),
    "io.preconditioning.ddpm": call(
        lambda **kwargs: io.preconditioning.ddpm(**kwargs).schedule.log_snr(0.5),
        betas=Choice("linear", alias="name"),
        target=Choice("eps"),
    ),
    "io.preconditioning.vp": call(
        lambda **kwargs: io.preconditioning.vp(**kwargs).schedule.log_snr(0.5),
        beta_min=Number(0.1, low=0.0),
        beta_max=Number(20.0, low=0.05),
    ),
    "io.preconditioning.ve": call(
        lambda **kwargs: io.preconditioning.ve(**kwargs).schedule.log_snr(0.5),
        sigma_min=Number(0.02, low=0.0),
        sigma_max=Number(100.0, low=0.01),
    ),
    "io.preconditioning.edm": call(
        lambda **kwargs: io.preconditioning.edm(**kwargs).schedule.log_snr(0.5),
        sigma_min=Number(0.02, low=-0.1),
        sigma_max=Number(80.0, low=0.01),
    ),
}

EXEMPT: dict[str, str] = {
    "io.formats.find_format": "takes any names; None of those that it does not know",
    "io.preconditioning.from_scheduler": "takes the fields of a file; tests/io/test_preconditioning.py has its errors",
    "io.preconditioning.precondition": "takes a network and its preconditioning",
    "io.reading.read_weights": "takes a path; tests/io/test_pickles.py and test_loading.py have its errors",
    "io.tensors.check_params": "takes a tree of arrays and one of shapes; tests/io/test_tensors.py has its errors",
    "io.load": "takes a path; tests/io/test_loading.py has its errors",
    "io.export": "takes a path and what load returns; tests/io/test_loading.py has its errors",
}
