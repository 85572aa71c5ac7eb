"""diffrax: Runge-Kutta methods for ``dx / dsigma = (x - x0) / sigma``, the last step by x0 itself."""

import functools
import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.conformance import Sampler

NAME = "diffrax"


@functools.partial(jax.jit, static_argnums=(0, 1))
def integrate(name: str, predict: Any, x: Any, sigmas: Any, n: Any):
    """The first n steps; ``predict(x, sigma) -> x0`` is traced."""
    diffrax: Any = importlib.import_module("diffrax")
    solver, terms = getattr(diffrax, name)(), diffrax.ODETerm(lambda sigma, x, args: (x - predict(x, sigma)) / sigma)

    def body(k, carry):
        x, _, _, state, _ = solver.step(terms, sigmas[k], sigmas[k + 1], carry[0], None, carry[1], made_jump=False)
        return x, state

    return jax.lax.fori_loop(0, n, body, (x, solver.init(terms, sigmas[0], sigmas[1], x, None)))[0]


def run(name: str, denoiser: Any, x: np.ndarray, sigmas: np.ndarray, rng: Any) -> np.ndarray:
    """From ``sigmas[0]`` to ``sigmas[-1]``."""
    del rng
    to_zero, like = sigmas[-1] == 0, jax.ShapeDtypeStruct(x.shape, float)
    predict = lambda x, sigma: jax.pure_callback(denoiser, like, x, sigma)
    x = np.asarray(integrate(name, predict, jnp.asarray(x), jnp.asarray(sigmas), len(sigmas) - 1 - to_zero))
    return denoiser(x, sigmas[-2]) if to_zero else x


def subjects() -> dict[str, Any]:
    """Explicit methods with their orders."""
    jax.config.update("jax_enable_x64", True)  # also in the threads of callbacks
    orders = {"Euler": 1, "Heun": 2, "Midpoint": 2, "Ralston": 2, "Bosh3": 3, "Tsit5": 5, "Dopri5": 5}
    return {name: Sampler(run=functools.partial(run, name), order=order) for name, order in orders.items()}
