"""Inverse problems on images: what each task observes, and each method as a sampler."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError, hint
from experiments.cli.progress import Progress
from scorekit import guidance, process, samplers, solvers
from scorekit.guidance import operators
from scorekit.typing import Array, Denoiser, Key, PyTree, Schedule, Solver

LEAST_LOG_SNR = -6.0
"""Sampling starts here: the Jacobian of a trained network is of no use in stronger noise."""


class Task(NamedTuple):
    """What is observed.

    Attributes:
      operator: ``x0 -> y``.
      picture: ``y -> image`` of the shape of x0, to look at.
      keep: the mask, where the operator is one.
      linear: whether it is linear, or at least in pieces.
    """

    operator: operators.Operator
    picture: Callable[[np.ndarray], np.ndarray]
    keep: np.ndarray | None = None
    linear: bool = True


def _hidden(rows: slice, columns: slice, shape) -> Task:
    keep = np.ones((*shape[:2], 1), np.float32)
    keep[rows, columns] = 0.0
    return Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)


def _middle(shape: Sequence[int]) -> Task:
    """The middle, half as high and half as wide, is hidden."""
    height, width = shape[:2]
    return _hidden(slice(height // 4, -(height // 4)), slice(width // 4, -(width // 4)), shape)


def _half(shape: Sequence[int]) -> Task:
    """The lower half is hidden."""
    return _hidden(slice(shape[0] // 2, None), slice(None), shape)


def _super_resolution(shape: Sequence[int]) -> Task:
    """Means over 2 x 2 pixels."""
    if any(size % 2 for size in shape[:2]):
        raise ConfigError(f"--task=super_resolution: needs images of even sizes, not {shape[0]} x {shape[1]}")
    return Task(operators.average_pool(2), lambda y: y.repeat(2, axis=1).repeat(2, axis=2))


def _deblur(shape: Sequence[int]) -> Task:
    """A Gaussian blur of an eighth of the height."""
    std = shape[0] / 8
    return Task(operators.blur(operators.gaussian_kernel(std, int(np.ceil(2 * std)))), lambda y: y)


def _identity(x: PyTree) -> PyTree:
    return x


def _denoise(shape: Sequence[int]) -> Task:
    """Nothing but noise."""
    del shape
    return Task(jax.tree_util.Partial(_identity), lambda y: y)


def _colourise(shape: Sequence[int]) -> Task:
    """The luminance."""
    if shape[-1] != 3:
        raise ConfigError(f"--task=colourise: needs images of 3 channels, these have {shape[-1]}")
    return Task(operators.grayscale(), lambda y: np.repeat(y[..., None], 3, axis=-1))


def _saturated(x: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.tanh(4.0 * leaf), x)


def _saturate(shape: Sequence[int]) -> Task:
    """Contrast so strong that black and white saturate: not linear."""
    del shape
    return Task(jax.tree_util.Partial(_saturated), lambda y: y, linear=False)


TASKS: dict[str, Callable[[Sequence[int]], Task]] = {
    "inpaint": _middle,
    "half": _half,
    "super_resolution": _super_resolution,
    "deblur": _deblur,
    "denoise": _denoise,
    "colourise": _colourise,
    "saturate": _saturate,
}

METHODS = ("replacement", "repaint", "dps", "pigdm", "mmps")


class Options(NamedTuple):
    """Numbers of the methods; see :mod:`experiments.edit` for what they are."""

    steps: int = 100
    noise_std: float = 0.05
    data_std: float = 0.7
    step_size: float = 1.0
    iterations: int = 3
    jump_length: int = 5
    resamples: int = 4


def check_options(methods: Sequence[str], options: Options) -> None:
    """Refuses unknown methods and numbers out of range, named as the flags that they come from."""
    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--method={method}: must be one of {', '.join(METHODS)}{hint(method, METHODS)}")
    for name, allowed, good in (
        ("noise_std", "a finite number >= 0", 0 <= options.noise_std < float("inf")),
        ("data_std", "a finite number > 0", 0 < options.data_std < float("inf")),
        ("step_size", "a finite number >= 0", 0 <= options.step_size < float("inf")),
    ):
        if not good:
            raise ConfigError(f"--{name}={getattr(options, name)}: must be {allowed}")


class Restored(NamedTuple):
    """A reconstruction ``(N, H, W, C)`` and what it cost: evaluations and vector-Jacobian products of the network."""

    x: np.ndarray
    evaluations: int
    gradients: int


def refuse_misapplied(task_name: str, task: Task, method: str) -> None:
    """A ConfigError for a method that cannot solve the task, with those that can."""
    fitting = [name for name in METHODS if fits(task, name)]
    if method not in fitting:
        needs = "a mask" if method == "repaint" else "a linear operator"
        raise ConfigError(f"--method={method}: needs {needs}; --task={task_name} can be solved by {', '.join(fitting)}")


def fits(task: Task, method: str) -> bool:
    """Whether the method can solve the task."""
    return task.keep is not None if method == "repaint" else task.linear or method == "dps"


def observe(key: Key, task: Task, x: Array, noise_std: float) -> Array:
    """``y = A(x) + noise_std z``, without noise where a mask hides the data."""
    y = task.operator(x)
    noise = noise_std * jax.random.normal(key, y.shape)
    return y + (noise if task.keep is None else noise * task.keep)


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
            walk = {"jump_length": options.jump_length, "resamples": options.resamples}
            with Progress(1, batch_size=len(y), label=method) as shown:
                x = _repaint(for_steps, denoiser, schedule, x, ts, task.keep, y, **walk)
                shown.update(1, None)
            evaluations = sum(np.diff(samplers.repaint_path(steps, **walk)) > 0)
            return Restored(np.asarray(x), int(evaluations), 0)
        case "dps":
            solver = solvers.DPS(operator=task.operator, observation=y, inner=solver, step_size=options.step_size)
        case "replacement":
            rule = guidance.replacement(*problem, data_std=options.data_std)
        case "pigdm":
            rule = guidance.pigdm(*problem, data_std=options.data_std)
        case _:
            rule = guidance.mmps(*problem, iterations=options.iterations)
    x = by_hand(for_steps, rule, schedule, solver, x, ts, label=method)
    return Restored(np.asarray(x), steps, steps * gradients)


def by_hand(key: Key, denoiser: Denoiser, schedule: Schedule, solver: Solver, x: Array, ts: Array, label: str) -> Array:
    """``samplers.sample`` with one compiled step and a Python loop: on CPUs XLA runs the gradient of a convolution tens
    of times slower inside a loop of its own."""
    state = solver.init(x)
    with Progress(len(ts) - 1, batch_size=len(x), label=label) as shown:
        for i in range(len(ts) - 1):
            x, state = _step(jax.random.fold_in(key, i), state, x, ts[i], ts[i + 1], denoiser, schedule, solver)
            shown.update(i + 1)
    return jax.block_until_ready(x)


@jax.jit
def _step(key: Key, state: Any, x: Array, t: Array, s: Array, denoiser: Any, schedule: Any, solver: Any) -> Any:
    return solver.step(key if solver.stochastic else None, state, x, t, s, denoiser, schedule)


_repaint = jax.jit(
    lambda key, denoiser, schedule, x, ts, keep, y, jump_length, resamples: samplers.repaint(
        key, denoiser, schedule, solvers.Ancestral(), x, ts, jnp.broadcast_to(keep, x.shape[1:]), y,
        jump_length=jump_length, resamples=resamples,
    ),
    static_argnames=("jump_length", "resamples"),
)  # fmt: skip


def psnr(x: np.ndarray, truth: np.ndarray) -> float:
    """``10 log10(4 / MSE)`` in dB, for data in [-1, 1], averaged over images.

    >>> round(psnr(np.zeros((1, 2)), np.full((1, 2), 0.2)), 3)
    20.0
    """
    error = np.square(np.asarray(x, np.float64) - truth).reshape(len(x), -1).mean(1)
    return float(np.mean(10 * np.log10(4 / np.maximum(error, 1e-12))))


def consistency(task: Task, x: np.ndarray, y: Array) -> float:
    """The RMS of ``y - A(x)``: near ``noise_std`` where the reconstruction explains the observation."""
    gap = np.asarray(y - task.operator(jnp.asarray(x)))
    if task.keep is not None:
        gap = gap[np.broadcast_to(task.keep > 0, gap.shape)]
    return float(np.sqrt(np.mean(np.square(gap))))
