"""Typicality."""

import jax
import numpy as np

from scorekit import denoisers, densities, schedules, solvers
from scorekit import typicality as ty
from valid_calls.kinds import Data, Number, call

_KEY = jax.random.key(0)
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), _SCHEDULE)
_STATISTICS = np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0]], np.float32)
_SCORES = np.array([0.0, 2.0, 1.0, 4.0], np.float32)
_X = np.array([[0.5, -0.5]], np.float32)
_TS, _PATH = np.array([0.5, 0.25], np.float32), np.array([0.75, 0.25], np.float32)
_DATA = {"x": Data(_X, alias="x_t")}
_IMAGES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
_fitted = lambda factory: lambda calibration, statistics: factory(calibration)(statistics)
_CALIBRATED = {"calibration": Data(_STATISTICS, "integer"), "statistics": Data(_STATISTICS, "integer")}
USUAL = {
    "denoiser": _DENOISER,
    "schedule": _SCHEDULE,
    "entropy": 1.0,
    "key": _KEY,
    "ts": Data(_TS, "integer"),
    "log_density": Data(_SCORES, "integer, shape, empty"),
    "calibration": Data(_SCORES, "integer"),
    "x": Data(_IMAGES),
}
ROWS = {
    "typicality.shell_mass": call(
        dim=3.0,
        low=Number(1.0, "inf: the mass beyond any radius is 0", alias="high", high=3.0),
        high=Number(2.0, "inf: the mass up to any radius", low=0.5),
    ),
    "typicality.lambert_w_exp": call(y=Number(1.0)),
    "typicality.excess_information": call(),
    "typicality.typical_set": call(epsilon=1.0),
    "typicality.monte_carlo_entropy": call(log_density=Data(_SCORES, "integer")),
    "typicality.local_typicality": call(states=Data(np.stack([_X, _X]), alias="x_t"), ts=Data(_PATH)),
    "typicality.seek_mode": call(x=Data(_X, "empty: no starting point gives no end point", alias="x_t"), t=0.5),
    "typicality.standardise": call(_fitted(ty.standardise), **_CALIBRATED),
    "typicality.decorrelate": call(
        lambda calibration, regularisation, statistics: ty.decorrelate(calibration, regularisation)(statistics),
        regularisation=0.001,
        **_CALIBRATED,
    ),
    "typicality.kernel_density_score": call(_fitted(ty.kernel_density_score), **_CALIBRATED),
    "typicality.gaussian_score": call(_fitted(ty.gaussian_score), **_CALIBRATED),
    "typicality.mean_z_score": call(_fitted(ty.mean_z_score), **_CALIBRATED),
    "typicality.density_of_states": call(
        lambda calibration, statistics: ty.density_of_states(calibration).log_density(statistics),
        calibration=Data(_STATISTICS, "integer", alias="statistics"),
        statistics=Data(_STATISTICS, "integer"),
    ),
    "typicality.gaussian_of_states": call(
        lambda statistics: ty.gaussian_of_states(statistics).log_density(statistics),
        statistics=Data(_STATISTICS, alias="covariance_eigenvalues"),
    ),
    "typicality.p_values": call(scores=Data(_SCORES, "integer, shape, empty")),
    "typicality.typicality_test": call(
        log_density=Data(
            np.stack([_SCORES, _SCORES]),
            "integer; shape: any number of batches is allowed; empty: no batch gives no result",
        ),
        resamples=4,
    ),
    "typicality.score_norms": call(key=None, **_DATA),
    "typicality.reconstruction_errors": call(solver=solvers.Euler(), **_DATA, steps=2),
    "typicality.path_statistics": call(**_DATA, ts=Data(_PATH)),
    "typicality.score_curvature": call(**_DATA, probes=2),
    "typicality.code_length": call(),
    "typicality.complexity_corrected": call(log_probability=Data(_SCORES[:2], "integer")),
}
