"""diffrax: Runge-Kutta methods for ``dx / dsigma = (x - x0) / sigma``, the last step by x0 itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.conformance import Sampler, check

ORDERS = {"Euler": 1, "Heun": 2, "Midpoint": 2, "Ralston": 2, "Bosh3": 3, "Tsit5": 5, "Dopri5": 5}


def run(name, denoiser, x, sigmas, rng):
    """A step for each noise level above 0."""
    del rng
    diffrax = pytest.importorskip("diffrax")
    solver, to_zero, like = getattr(diffrax, name)(), sigmas[-1] == 0, jax.ShapeDtypeStruct(x.shape, float)
    slope = lambda sigma, x, _: (x - jax.pure_callback(denoiser, like, x, sigma)) / sigma
    terms, levels = diffrax.ODETerm(slope), jnp.asarray(sigmas[:-1] if to_zero else sigmas)

    def body(carry, ends):
        x, _, _, state, _ = solver.step(terms, *ends, carry[0], None, carry[1], made_jump=False)
        return (x, state), None

    start = (jnp.asarray(x), solver.init(terms, levels[0], levels[1], jnp.asarray(x), None))
    x = np.asarray(jax.jit(lambda start: jax.lax.scan(body, start, (levels[:-1], levels[1:])))(start)[0][0])
    return denoiser(x, sigmas[-2]) if to_zero else x


@pytest.mark.external
def test_diffrax(float64):
    subjects = {name: Sampler(run=functools.partial(run, name), order=order) for name, order in ORDERS.items()}
    report = check("diffrax", subjects)
    assert report.failed == [], str(report)
