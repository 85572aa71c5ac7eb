"""Samplers of other packages on the same problems and grids; each package is optional.

They operate on ``x = x0 + sigma eps``. A sampler that steps in ``log sigma`` or evaluates at the end of a step runs to
the last positive noise level and ends with one evaluation of x0, as is usual for it.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.quality.problems import MAX_STEPS, Problem


class Peer(NamedTuple):
    """A sampler of another package.

    Attributes:
      solve: ``(problem, x, sigmas) -> x0`` along ``sigmas``, ``(n + 1,)`` ending at 0.
      steps: the number of steps by network evaluations.
      grids: the grids it is measured on; all if None.
    """

    solve: Callable[[Problem, np.ndarray, np.ndarray], np.ndarray]
    steps: Callable[[int], int]
    grids: tuple[str, ...] | None = None


def load() -> dict[str, Peer]:
    """The samplers of the packages that are installed; prints a line for each package that is not."""
    found: dict[str, Peer] = {}
    for package, make in (("diffrax", _diffrax), ("azula", _azula), ("diffusers", _diffusers)):
        try:
            found |= make()
        except ImportError as error:
            print(f"{package} is skipped because it is not installed: {error}")
    return found


_predict = jax.jit(Problem.predict, static_argnums=0)


# ---- diffrax: Runge-Kutta in sigma ---------------------------------------------------------------------------------


def _diffrax() -> dict[str, Peer]:
    diffrax: Any = importlib.import_module("diffrax")

    def peer(name: str, stages: int) -> Peer:
        solver = getattr(diffrax, name)()

        @functools.partial(jax.jit, static_argnums=0)
        def run(problem, x, sigmas, n):
            field = lambda sigma, x, args: (x - problem.predict(x, sigma)) / sigma
            terms = diffrax.ODETerm(field)

            def body(k, carry):
                x, state = carry
                x, _, _, state, _ = solver.step(terms, sigmas[k], sigmas[k + 1], x, None, state, made_jump=False)
                return x, state

            state = solver.init(terms, sigmas[0], sigmas[1], x, None)
            x = jax.lax.fori_loop(0, n - 1, body, (x, state))[0]
            return problem.predict(x, sigmas[n - 1])

        def solve(problem, x, sigmas):
            n = len(sigmas) - 1
            return run(problem, x, np.pad(sigmas, (0, MAX_STEPS - n)), n)

        return Peer(solve, lambda nfe: 1 + (nfe - 1) // stages)

    return {f"diffrax {name}": peer(name, stages) for name, stages in (("Midpoint", 2), ("Bosh3", 3), ("Tsit5", 6))}


# ---- torch ---------------------------------------------------------------------------------------------------------


def _in_torch(torch, problem: Problem):
    """``(x, sigma) -> x0`` on tensors."""
    return lambda x, sigma: torch.from_numpy(np.array(_predict(problem, jnp.asarray(x.numpy()), float(sigma))))


def _azula() -> dict[str, Peer]:
    torch: Any = importlib.import_module("torch")
    sample: Any = importlib.import_module("azula.sample")
    denoise: Any = importlib.import_module("azula.denoise")

    class Denoiser(denoise.Denoiser):
        """Its time is sigma."""

        schedule = staticmethod(lambda t: (torch.ones_like(t), t))

        def __init__(self, problem):
            super().__init__()
            self.predict = _in_torch(torch, problem)

        def forward(self, x_t, t, **kwargs):
            del kwargs
            return denoise.DiracPosterior(self.predict(x_t, t))

    def peer(name: str, order: int, to_zero: bool) -> Peer:
        def solve(problem, x, sigmas):
            times = torch.from_numpy(np.array(sigmas if to_zero else sigmas[:-1]))
            kind = type(name, (getattr(sample, name),), {"timesteps": times})
            denoiser = Denoiser(problem)
            x = kind(denoiser, order=order, silent=True)(torch.from_numpy(np.array(x)))
            return (x if to_zero else denoiser.predict(x, times[-1])).numpy()

        return Peer(solve, lambda nfe: nfe)

    return {"azula vAB3": peer("vABSampler", 3, True), "azula zEAB3": peer("zEABSampler", 3, False)}


def _diffusers() -> dict[str, Peer]:
    torch: Any = importlib.import_module("torch")
    module: Any = importlib.import_module("diffusers")

    def peer(order: int) -> Peer:
        def solve(problem, x, sigmas):
            scheduler = module.EDMDPMSolverMultistepScheduler(solver_order=order)
            scheduler.set_timesteps(len(sigmas) - 1)
            predict, x = _in_torch(torch, problem), torch.from_numpy(np.array(x))
            for t, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
                x0 = predict(x, sigma)
                skip = scheduler.precondition_outputs(x, torch.zeros_like(x), sigma)
                gain = scheduler.precondition_outputs(torch.zeros_like(x), torch.ones_like(x), sigma)
                x = scheduler.step((x0 - skip) / gain, t, x).prev_sample
            return x.numpy()

        return Peer(solve, lambda nfe: nfe, ("karras7 .002",))

    return {f"diffusers EDM DPM++{order}M": peer(order) for order in (2, 3)}
