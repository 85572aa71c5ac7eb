"""The methods that solve inverse problems, each as a sampler."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError, hint
from experiments.cli.progress import Progress
from experiments.tasks.diffusion.inverse.tasks import Task
from scorekit import guidance, process, samplers, solvers
from scorekit.typing import Array, Denoiser, Key, Schedule, Solver

LEAST_LOG_SNR = -6.0
"""Sampling starts at this log-SNR: the Jacobian of a trained network is useless at higher noise."""

METHODS = ("replacement", "repaint", "dps", "pigdm", "mmps")


class Options(NamedTuple):
    """Hyper-parameters of the methods.

    Attributes:
      steps: steps of a method.
      noise_std: noise of the observation, in units of the data.
      data_std: of replacement and pigdm, the standard deviation of the data.
      step_size: of dps, the size of the normalised step.
      iterations: of mmps, conjugate gradients.
      jump_length: of repaint, steps of a jump back.
      resamples: of repaint, how often each stretch is sampled.
    """

    steps: int = 100
    noise_std: float = 0.05
    data_std: float = 0.7
    step_size: float = 1.0
    iterations: int = 3
    jump_length: int = 5
    resamples: int = 4


def check_options(methods: Sequence[str], options: Options) -> None:
    """Validates methods and hyper-parameters, by the names of their flags."""
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--method={method}: must be one of {', '.join(METHODS)}{hint(method, METHODS)}")
    if not 0 <= options.noise_std < float("inf"):
        raise ConfigError(f"--noise_std={options.noise_std}: must be a finite number >= 0")


class Restored(NamedTuple):
    """A reconstruction ``(N, H, W, C)`` and its cost: evaluations and vector-Jacobian products of the network."""

    x: np.ndarray
    evaluations: int
    gradients: int


def check_applicable(task_name: str, task: Task, method: str) -> None:
    """Raises a ConfigError for a method that cannot solve the task, with those that can."""
    fitting = [name for name in METHODS if fits(task, name)]
    if method not in fitting:
        needs = "a mask" if method == "repaint" else "a linear operator"
        raise ConfigError(f"--method={method}: needs {needs}; --task={task_name} can be solved by {', '.join(fitting)}")


def fits(task: Task, method: str) -> bool:
    """Whether the method can solve the task: dps needs the gradient of the operator alone."""
    if method == "repaint":
        return task.keep is not None
    return task.linear or method == "dps"


def restore(
    method: str, key: Key, denoiser: Denoiser, schedule: Schedule, task: Task, y: Array, shape: tuple, options: Options
) -> Restored:
    """Draws from (an approximation of) the posterior, by ancestral sampling from the noise at log-SNR -6."""
    first = jnp.minimum(1.0, schedule.time_at(LEAST_LOG_SNR))
    ts = solvers.grids.uniform(options.steps, first)
    for_prior, for_steps = jax.random.split(key)
    x = process.sample_prior(for_prior, schedule, jax.ShapeDtypeStruct(shape, jnp.float32), first)
    steps, solver, rule = options.steps, solvers.Ancestral(), denoiser
    gradients = {"pigdm": 1, "mmps": options.iterations + 1, "dps": 1}.get(method, 0)
    problem = (denoiser, schedule, task.operator, y, options.noise_std)
    match method:
        case "repaint":
            assert task.keep is not None
            path = {"jump_length": options.jump_length, "num_resamples": options.resamples}
            with Progress(1, batch_size=len(y), label=method) as bar:
                x = _repaint(for_steps, denoiser, schedule, x, ts, task.keep, y, **path)
                bar.update(1)
            evaluations = sum(np.diff(samplers.repaint_path(steps, **path)) > 0)
            return Restored(np.asarray(x), int(evaluations), 0)
        case "dps":
            solver = solvers.DPS(operator=task.operator, observation=y, base=solver, step_size=options.step_size)
        case "replacement":
            rule = guidance.replacement(*problem, data_std=options.data_std)
        case "pigdm":
            rule = guidance.pigdm(*problem, data_std=options.data_std)
        case _:
            rule = guidance.mmps(*problem, num_iterations=options.iterations)
    x = stepwise(for_steps, rule, schedule, solver, x, ts, label=method)
    return Restored(np.asarray(x), steps, steps * gradients)


def stepwise(
    key: Key, denoiser: Denoiser, schedule: Schedule, solver: Solver, x: Array, ts: Array, label: str
) -> Array:
    """``samplers.sample`` as a Python loop over one compiled step: on CPUs XLA runs the gradient of a convolution tens
    of times slower inside a scan."""
    state, rows = solver.init(x), jax.jit(lambda solver: solver.plan(schedule, ts))(solver)
    with Progress(len(ts) - 1, batch_size=len(x), label=label) as bar:
        for i in range(len(ts) - 1):
            row = jax.tree.map(lambda leaf, i=i: leaf[i], rows)
            x, state = _step(jax.random.fold_in(key, i), state, x, row, denoiser, solver)
            bar.update(i + 1)
    return jax.block_until_ready(x)


@jax.jit
def _step(key: Key, state: Any, x: Array, row: Any, denoiser: Any, solver: Any) -> Any:
    return solver.step(state, x, row, denoiser, key=key if solver.stochastic else None)


_repaint = jax.jit(
    lambda key, denoiser, schedule, x, ts, keep, y, jump_length, num_resamples: samplers.repaint(
        key,
        denoiser,
        schedule,
        solvers.Ancestral(),
        x,
        ts,
        jnp.broadcast_to(keep, x.shape[1:]),
        y,
        jump_length=jump_length,
        num_resamples=num_resamples,
    ),
    static_argnames=("jump_length", "num_resamples"),
)
