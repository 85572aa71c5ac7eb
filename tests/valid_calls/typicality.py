"""Typicality."""

import numpy as np

from scorekit import denoisers, densities, solvers
from scorekit import typicality as ty
from valid_calls.common import COSINE, KEY
from valid_calls.kinds import Data, Number, call

_STATISTICS = Data(np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0]], np.float32), "integer")
_SCORES = np.array([0.0, 2.0, 1.0, 4.0], np.float32)
_X = np.array([[0.5, -0.5]], np.float32)
_DATA, _PATH = Data(_X, alias="x_t"), Data(np.array([0.75, 0.25], np.float32))
_EACH = Data(_SCORES, "integer, shape, empty")
USUAL = {
    "denoiser": denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), COSINE),
    "schedule": COSINE,
    "entropy": 1.0,
    "key": KEY,
    "ts": Data(np.array([0.5, 0.25], np.float32), "integer"),
    "log_density": _EACH,
    "statistics": _STATISTICS,
    "calibration": Data(_SCORES, "integer"),
    "x": Data(np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)),
}
_FITTED = "standardise decorrelate kernel_density_score gaussian_score mean_z_score"
ROWS = {
    **{f"typicality.{name}": call(then="statistics", calibration=_STATISTICS) for name in _FITTED.split()},
    "typicality.shell_mass": call(
        dim=3.0,
        low=Number(1.0, "inf: the mass beyond any radius is 0", alias="high", high=3.0),
        high=Number(2.0, "inf: the mass up to any radius", low=0.5),
    ),
    "typicality.lambert_w_exp": call(y=Number(1.0)),
    "typicality.excess_information": call(),
    "typicality.typical_set": call(epsilon=1.0),
    "typicality.monte_carlo_entropy": call(log_density=Data(_SCORES, "integer")),
    "typicality.local_typicality": call(states=Data(np.stack([_X, _X]), alias="x_t"), ts=_PATH),
    "typicality.seek_mode": call(x=Data(_X, "empty: no starting point gives no end point", alias="x_t"), t=0.5),
    "typicality.density_of_states": call(
        lambda calibration, statistics: ty.density_of_states(calibration).log_density(statistics),
        calibration=Data(_STATISTICS.value, "integer", alias="statistics"),
    ),
    "typicality.gaussian_of_states": call(
        lambda statistics: ty.gaussian_of_states(statistics).log_density(statistics),
        statistics=Data(_STATISTICS.value, alias="covariance_eigenvalues"),
    ),
    "typicality.p_values": call(scores=_EACH),
    "typicality.typicality_test": call(
        log_density=Data(
            np.stack([_SCORES, _SCORES]),
            "integer; shape: any number of batches is allowed; empty: no batch gives no result",
        ),
        resamples=4,
    ),
    "typicality.score_norms": call(key=None, x=_DATA),
    "typicality.reconstruction_errors": call(solver=solvers.Euler(), x=_DATA, steps=2),
    "typicality.path_statistics": call(x=_DATA, ts=_PATH),
    "typicality.score_curvature": call(x=_DATA, probes=2),
    "typicality.code_length": call(),
    "typicality.complexity_corrected": call(log_probability=Data(_SCORES[:2], "integer")),
}
