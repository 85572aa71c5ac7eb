"""Samplers of other packages on the same problems and grids; each package is optional.

They operate on ``x = x0 + sigma eps``, by the adapters of :mod:`experiments.benchmarks.conformance`. A sampler that
steps in ``log sigma`` or evaluates at the end of a step runs to the last positive noise level and ends with one
evaluation of x0, as is usual for it.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.conformance import azula, diffrax, diffusers
from experiments.benchmarks.quality.problems import MAX_STEPS, Problem


class Peer(NamedTuple):
    """A sampler of another package.

    Attributes:
      solve: ``(problem, x, sigmas) -> x0`` along ``sigmas``, ``(n + 1,)`` ending at 0.
      steps: the number of steps by network evaluations.
    """

    solve: Callable[[Problem, np.ndarray, np.ndarray], np.ndarray]
    steps: Callable[[int], int] = lambda nfe: nfe


def load() -> dict[str, Peer]:
    """The samplers of the packages that are installed; prints a line for each package that is not."""
    found: dict[str, Peer] = {}
    for package, make in (("diffrax", _diffrax), ("azula", _azula), ("diffusers", _diffusers)):
        try:
            importlib.import_module(package)
            found |= make()
        except ImportError as error:
            print(f"{package} is skipped because it is not installed: {error}")
    return found


_predict = jax.jit(Problem.predict, static_argnums=0)


def _diffrax() -> dict[str, Peer]:
    def peer(name: str, stages: int) -> Peer:
        def solve(problem, x, sigmas):
            n = len(sigmas) - 1
            x = diffrax.integrate(name, problem.predict, x, np.pad(sigmas, (0, MAX_STEPS - n)), n - 1)
            return _predict(problem, x, sigmas[n - 1])

        return Peer(solve, lambda nfe: 1 + (nfe - 1) // stages)

    return {f"diffrax {name}": peer(name, stages) for name, stages in (("Midpoint", 2), ("Bosh3", 3), ("Tsit5", 6))}


def _through_numpy(run: Callable, to_zero: bool = True) -> Peer:
    def solve(problem, x, sigmas):
        denoiser = lambda x, sigma: np.array(_predict(problem, jnp.asarray(x), float(sigma)))
        x = run(denoiser, np.array(x), np.array(sigmas if to_zero else sigmas[:-1]), None)
        return x if to_zero else denoiser(x, sigmas[-2])

    return Peer(solve)


def _azula() -> dict[str, Peer]:
    zeab = _through_numpy(azula.sampler_of("zEABSampler", order=3), to_zero=False)
    return {"azula vAB3": _through_numpy(azula.sampler_of("vABSampler", order=3)), "azula zEAB3": zeab}


def _diffusers() -> dict[str, Peer]:
    make = lambda order: diffusers.of_sigmas(
        "DPMSolverMultistepScheduler", scaled=True, prediction_type="sample", solver_order=order
    )
    return {f"diffusers DPM++{order}M": _through_numpy(make(order)) for order in (2, 3)}
