"""Typicality."""

import jax
import numpy as np

from experiments.benchmarks.faults.calls import Call, Data, Number, call
from scorekit import denoisers, densities, schedules, solvers
from scorekit import typicality as ty

_KEY = jax.random.key(0)
_FLOATS = {"integer": "integers count as floats"}
_ANY_SHAPE = _FLOATS | {"shape": "any shape is allowed", "empty": "no value gives no value"}
_BATCHES = _FLOATS | {"shape": "any number of batches is allowed", "empty": "no batch gives no result"}
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), _SCHEDULE)
_STATISTICS = np.array([[0.0, 1.0], [2.0, 0.5], [1.0, 3.0], [-1.0, 2.0]], np.float32)
_SCORES = np.array([0.0, 2.0, 1.0, 4.0], np.float32)
_X = np.array([[0.5, -0.5]], np.float32)
_TS, _PATH = np.array([0.5, 0.25], np.float32), np.array([0.75, 0.25], np.float32)
_DATA = {"x": Data(_X, alias="x_t")}
_IMAGES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)

_fitted = lambda factory: lambda calibration, statistics: factory(calibration)(statistics)
_CALIBRATED = {"calibration": Data(_STATISTICS, _FLOATS), "statistics": Data(_STATISTICS, _FLOATS)}

ROWS: dict[str, Call] = {
    "typicality.shell_mass": call(
        ty.shell_mass,
        dim=3.0,
        low=Number(1.0, {"inf": "the mass beyond any radius is 0"}, alias="high", high=3.0),
        high=Number(2.0, {"inf": "the mass up to any radius"}, low=0.5),
    ),
    "typicality.lambert_w_exp": call(ty.lambert_w_exp, y=Number(1.0)),
    "typicality.excess_information": call(ty.excess_information, log_density=Data(_SCORES, _ANY_SHAPE), entropy=1.0),
    "typicality.typical_set": call(
        ty.typical_set,
        log_density=Data(_SCORES, _ANY_SHAPE),
        entropy=1.0,
        epsilon=1.0,
    ),
    "typicality.monte_carlo_entropy": call(ty.monte_carlo_entropy, log_density=Data(_SCORES, _FLOATS)),
    "typicality.local_typicality": call(
        lambda states, ts: ty.local_typicality(_DENOISER, _SCHEDULE, states, ts),
        states=Data(np.stack([_X, _X]), alias="x_t"),
        ts=Data(_PATH),
    ),
    "typicality.seek_mode": call(
        lambda **kwargs: ty.seek_mode(_DENOISER, _SCHEDULE, **kwargs),
        x=Data(_X, {"empty": "no starting point gives no end point"}, alias="x_t"),
        t=0.5,
    ),
    "typicality.standardise": call(_fitted(ty.standardise), **_CALIBRATED),
    "typicality.decorrelate": call(
        lambda calibration, regularisation, statistics: ty.decorrelate(calibration, regularisation)(statistics),
        regularisation=1e-3,
        **_CALIBRATED,
    ),
    "typicality.kernel_density_score": call(_fitted(ty.kernel_density_score), **_CALIBRATED),
    "typicality.gaussian_score": call(_fitted(ty.gaussian_score), **_CALIBRATED),
    "typicality.mean_z_score": call(_fitted(ty.mean_z_score), **_CALIBRATED),
    "typicality.density_of_states": call(
        lambda calibration, statistics: ty.density_of_states(calibration).log_density(statistics),
        calibration=Data(_STATISTICS, _FLOATS | {}, alias="statistics"),
        statistics=Data(_STATISTICS, _FLOATS),
    ),
    "typicality.gaussian_of_states": call(
        lambda statistics: ty.gaussian_of_states(statistics).log_density(statistics),
        statistics=Data(_STATISTICS, alias="covariance_eigenvalues"),
    ),
    "typicality.p_values": call(ty.p_values, calibration=Data(_SCORES, _FLOATS), scores=Data(_SCORES, _ANY_SHAPE)),
    "typicality.typicality_test": call(
        lambda **kwargs: ty.typicality_test(_KEY, **kwargs),
        entropy=1.0,
        calibration=Data(_SCORES, _FLOATS),
        log_density=Data(np.stack([_SCORES, _SCORES]), _BATCHES),
        resamples=4,
    ),
    "typicality.score_norms": call(
        lambda x, ts: ty.score_norms(None, _DENOISER, _SCHEDULE, x, ts), **_DATA, ts=Data(_TS, _FLOATS)
    ),
    "typicality.reconstruction_errors": call(
        lambda **kwargs: ty.reconstruction_errors(_KEY, _DENOISER, _SCHEDULE, solver=solvers.Euler(), **kwargs),
        **_DATA,
        ts=Data(_TS, _FLOATS),
        steps=2,
    ),
    "typicality.path_statistics": call(
        lambda **kwargs: ty.path_statistics(_DENOISER, _SCHEDULE, **kwargs), **_DATA, ts=Data(_PATH)
    ),
    "typicality.score_curvature": call(
        lambda **kwargs: ty.score_curvature(_KEY, _DENOISER, _SCHEDULE, **kwargs),
        **_DATA,
        ts=Data(_TS, _FLOATS),
        probes=2,
    ),
    "typicality.code_length": call(ty.code_length, x=Data(_IMAGES)),
    "typicality.complexity_corrected": call(
        ty.complexity_corrected, log_probability=Data(_SCORES[:2], _FLOATS), x=Data(_IMAGES)
    ),
}

EXEMPT = {
    "typicality.CoinTable": "a result",
    "typicality.DensityOfStates": "a result of density_of_states, whose row calls it",
    "typicality.Entropy": "a result",
    "typicality.TypicalityTest": "a result",
}
