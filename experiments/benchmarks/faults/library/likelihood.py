"""Likelihoods and variational bounds."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Classes, Data, call
from scorekit import denoisers, densities, likelihood, schedules

_KEY = jax.random.key(0)
_SCHEDULE = schedules.cosine()
_DENOISER = denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), _SCHEDULE)
_X = np.array([[1.0, -1.0]], np.float32)
_DATA = Data(_X, alias="x_t")
_TS = Data(np.array([0.9, 0.5, 0.1], np.float32))
_TIMES = {"t_min": 0.01, "t_max": 0.9}

ROWS: dict[str, Call] = {
    "likelihood.bits_per_dim": call(
        likelihood.bits_per_dim,
        log_p=Data(
            np.array([-3.0], np.float32),
            {
                "integer": "integers count as floats",
                "shape": "any shape is allowed",
                "empty": "no value is allowed",
            },
        ),
        event_size=2,
        bins=4,
        dequantisation="uniform",
    ),
    "likelihood.dequantised_bits_per_dim": call(
        lambda x, bins: likelihood.dequantised_bits_per_dim(_KEY, lambda key, z: jnp.sum(z, axis=-1), x, bins),
        x=Classes(np.array([[0, 1], [2, 3]]), num_classes=4),
        bins=4,
    ),
    "likelihood.variational_bound": call(
        lambda x0, **kwargs: likelihood.variational_bound(_KEY, _DENOISER, _SCHEDULE, x0, **kwargs),
        x0=_DATA,
        num_times=2,
        **_TIMES,
    ),
    "likelihood.variational_bound/bins": call(
        lambda **kwargs: likelihood.variational_bound(_KEY, _DENOISER, _SCHEDULE, num_times=2, **kwargs),
        x0=Data(_X, alias="x_t"),
        bins=2,
    ),
    "likelihood.boundary_terms": call(
        lambda **kwargs: likelihood.boundary_terms(_SCHEDULE, **kwargs),
        x0=_DATA,
        eps=Data(_X),
        bins=2,
        **_TIMES,
    ),
    "likelihood.discrete_variational_bound": call(
        lambda **kwargs: likelihood.discrete_variational_bound(_KEY, _DENOISER, _SCHEDULE, **kwargs),
        x0=_DATA,
        ts=_TS,
        bins=2,
    ),
    "likelihood.log_likelihood": call(
        lambda **kwargs: likelihood.log_likelihood(None, _DENOISER, _SCHEDULE, **kwargs),
        x0=_DATA,
        rtol=0.1,
        atol=0.1,
        max_steps=100,
        block_size=8,
        **_TIMES,
    ),
    "likelihood.log_likelihood/probes": call(
        lambda **kwargs: likelihood.log_likelihood(_KEY, _DENOISER, _SCHEDULE, **kwargs),
        x0=_DATA,
        divergence="rademacher",
        ts=_TS,
    ),
}

EXEMPT = {
    "likelihood.BitsPerDim": "a result",
    "likelihood.LogLikelihood": "a result",
    "likelihood.VariationalBound": "a result",
}
