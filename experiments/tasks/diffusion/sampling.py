"""The solver and the time grid of a config, and the function that draws samples with them.

Args:
  t_max: the first time.
  t_min: the last time.
  times: decreasing, one more than there are steps.
"""

import functools
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.choices import Choice, Choices
from experiments.cli.config import Config, ConfigError, changed, require
from experiments.cli.fields import FRACTION, POSITIVE, Field, Text
from experiments.data.dataset import Dataset
from experiments.models.choices import ENDS
from experiments.models.conditioning import conditions_for
from experiments.models.devices import everywhere, hold, spread, spread_jit
from experiments.models.samples import (
    Generate,
    Measure,
    NotFinite,
    PartialSamples,
    check_samples,
    digest_of,
    sampler_of,
)
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.guidance import NO_EXTRAS, Extras
from experiments.tasks.diffusion.model import Model, at_params
from scorekit import process, samplers, schedules, solvers, tuning
from scorekit.arguments import Between, Each, bounds_of
from scorekit.flow_maps import FlowMapSolver
from scorekit.solvers import LinearSolver, SolverBase
from scorekit.solvers.grids import check_grid
from scorekit.typing import Array, Schedule, Solver


def _start(schedule: Schedule, t_max: float) -> Array:
    """``t_max``, or the time at the most noise of linear VP if that is earlier: there every target gives x0."""
    return jnp.minimum(schedule.time_at(schedules.linear_vp().log_snr(1.0)), t_max)


def _vp_quadratic(schedule: Schedule, n: int, t_max=1.0, t_min=0.0, power=3.0) -> Array:
    return solvers.grids.vp_quadratic(schedule, n, _start(schedule, t_max), t_min, power=power)


def _recommended(schedule: Schedule, n: int, stochastic: bool, t_max=1.0, t_min=0.0) -> Array:
    """The grid of :func:`scorekit.samplers.recommended` for this number of steps and kind of solver."""
    _, ts = samplers.recommended(schedule, n, stochastic=stochastic, t_max=_start(schedule, t_max), t_min=t_min)
    return ts


def _saved_grid(n: int, path: str, t_max=1.0, t_min=0.0, rho=7.0, power=2.0) -> tuning.SavedGrid:
    """The times and coefficients in a file that ``experiments.tune`` wrote for this solver and number of steps.

    Args:
      path: path of the file.
      t_max, t_min, rho, power: fields of the grid that the run had before; not used.
    """
    del t_max, t_min, rho, power  # of the run's own grid: the file has its times
    saved = tuning.load_grid(path)
    if saved.steps != n:
        raise ValueError(f"sampling.steps must be {saved.steps}, as tuned in {path}, got {n}")
    return saved


def _given_times(n: int, times: Annotated[tuple, Each(FRACTION, least=2)]) -> Array:
    """These times."""
    if len(times) != n + 1:
        raise ValueError(f"times must be {n + 1} for sampling.steps = {n}, got {len(times)}")
    ts = jnp.asarray(times, jnp.float32)
    check_grid(ts)
    return ts


GRIDS = Choices(
    {
        "file": Choice(_saved_grid, path=Text("a file of experiments.tune"), rho=POSITIVE, power=POSITIVE),
        "karras": Choice(solvers.grids.karras, drop=("to_zero",)),
        "recommended": _recommended,
        "quadratic": solvers.grids.quadratic,
        "log_snr": Choice(solvers.grids.uniform_log_snr, drop=("to_zero",)),
        "times": _given_times,
        "uniform": solvers.grids.uniform,
        "vp_quadratic": Choice(_vp_quadratic, solvers.grids.vp_quadratic, power=Field(3.0, POSITIVE, "")),
    },
    "recommended",
    """The times of the steps; "recommended" is the grid that belongs to the solver, "file" takes the grid at ``path``,
    which experiments.tune wrote for this solver and number of steps, "times" takes ``times``.""",
    ("schedule", "n", "stochastic"),
    bounds=ENDS,
)


def build_sampler(config: Config, schedule: Schedule) -> tuple[Solver, Array]:
    """The solver and its time grid, validated against schedule and target; a file may bring the coefficients."""
    n = config.sampling.steps
    solver = SOLVERS.build(config, "sampling.solver", schedule=schedule, n=n)
    ts = GRIDS.build(config, "sampling.grid", schedule=schedule, n=n, stochastic=solver.stochastic)
    if isinstance(ts, tuning.SavedGrid):
        try:
            solver = tuning.restore_solver(ts, solver, schedule)
        except ValueError as error:
            raise ConfigError(f"config.sampling.grid.path={config.sampling.grid.path}: {error}") from error
        ts = ts.ts
    try:
        check_grid(ts)
    except ValueError as error:
        given = [f"config.sampling.grid.{field}={v}" for field, v in config.sampling.grid.items() if v is not None]
        raise ConfigError(f"{', '.join(given)}: {' '.join(str(error).split())}") from error
    no_signal = float(schedule.alpha(ts[0])) == 0
    target, undefined = config.loss.target.name, ("eps", "negative_eps", "score")
    if no_signal and (target in undefined or isinstance(solver, solvers.EulerMaruyama)):
        blame = f"target {target}" if target in undefined else "solver euler_maruyama"
        allowed = f"below 1 (say 0.999): {blame} divides by alpha(t), which is 0 there for {config.schedule.name}"
        require(False, "sampling.grid.t_max", float(ts[0]), allowed)
    return solver, ts


def at_steps(config: Config, steps: int) -> Config:
    """The config with another number of steps of its sampler."""
    return changed(config, {"sampling.steps": steps})


def has_listed_times(config: Config) -> bool:
    """Whether its grid holds times and not a rule for any number of them."""
    return config.sampling.grid.name in ("file", "times")


def make_sampler(config: Config, model: Model, dataset: Dataset, extras: Extras = NO_EXTRAS) -> Generate:
    """``generate(params, seed, labels, guidance_scale) -> samples`` as numpy, in batches of one compiled size.

    In place of labels it takes all conditions by name; with labels alone, the other conditions are taken from held-out
    examples of these classes. ``generate`` raises :class:`~experiments.models.samples.NotFinite` if any sample is not
    finite. Every device draws its part of a batch; with several processes each process gets all samples. With
    ``partial=PartialSamples(folder)``, samples of more than one batch are kept by batch until the caller removes them.
    With ``measure`` the result is ``measure`` of each batch, and at most a batch of samples is in memory. ``steps``
    takes another number of steps than the config. ``generate.trace(params, labels, guidance_scale, **how)`` traces
    the program of one batch, for shapes of parameters; ``generate.evaluations`` of the network are one after the other.
    """
    solver, fixed = build_sampler(config, model.schedule)
    options, denoiser = config.sampling, guidance.make_guided(config, model)

    @functools.partial(spread_jit, fsdp=config.training.fsdp, static_argnames="trajectory")
    def run(params, key, given, scale, ts, extras, trajectory=False):
        schedule = at_params(model, params).schedule
        for_prior, for_steps = jax.random.split(key)
        like = jax.ShapeDtypeStruct((given["labels"].shape[0], *model.shape), jnp.float32)
        at_map = model.coupling is not None and model.coupling.starts_at_map
        x = given["dense_map"].value if at_map else process.sample_prior(for_prior, schedule, like, ts[0])
        x, given = spread((x, given))
        out = samplers.sample(
            for_steps if solver.stochastic else None,
            denoiser(params, given, scale, extras),
            schedule,
            solver,
            x,
            ts,
            trajectory=trajectory,
        )
        if not trajectory:
            if options.denoise:
                out = denoiser(params, given, scale, extras)(out, ts[-1]).x0
            return dataset.from_model(out, given)
        states = jnp.concatenate([x[None], out[1]])
        return states, schedule.log_snr(ts)

    @functools.cache
    def with_steps(steps: int) -> Generate:
        return make_sampler(at_steps(config, steps), model, dataset, extras)

    def generate(
        params,
        seed: int,
        labels,
        guidance_scale: float,
        *,
        trajectory: bool = False,
        partial: PartialSamples | None = None,
        measure: Measure | None = None,
        steps: int | None = None,
    ):
        if steps not in (None, options.steps):
            further = {"trajectory": trajectory, "partial": partial, "measure": measure}
            return with_steps(steps)(params, seed, labels, guidance_scale, **further)
        key = jax.random.key(seed)
        noise = options.map_noise or 0.0
        for_map = jax.random.fold_in(key, 2**31 - 1) if noise else None
        named = isinstance(labels, Mapping)
        given = dict(labels) if named else conditions_for(model, dataset, labels, for_map, noise)
        scale = guidance.traced_scale(config, guidance_scale)
        by = sampler_of(config, guidance_scale)
        params, others = hold(params, config.training.fsdp), everywhere(extras)
        ts = build_sampler(config, at_params(model, params).schedule)[1] if model.objective.learns_schedule else fixed
        if trajectory:
            found = jax.tree.map(np.asarray, run(params, key, given, scale, ts, others, trajectory=True))
            check_samples(found[0][-1], by)
            return found
        total = len(given["labels"])
        size = min(options.batch_size, total)
        num = -(-total // size)

        def draw(i: int) -> np.ndarray:
            part = jax.tree.map(lambda leaf: leaf[i * size : (i + 1) * size], given)
            kept = len(part["labels"])
            padded = jax.tree.map(lambda leaf: np.pad(leaf, [(0, size - kept), *[(0, 0)] * (leaf.ndim - 1)]), part)
            samples = np.asarray(run(params, jax.random.fold_in(key, i), padded, scale, ts, others))[:kept]
            return samples if measure is None else measure(check_samples(samples, by))

        if partial is None or num == 1:
            found = check_samples(np.concatenate([draw(i) for i in range(num)]), by)
            if partial is not None:
                partial.advance()
            return found
        first = jax.tree.map(lambda leaf: leaf[:size], given)
        like = jax.ShapeDtypeStruct((size, *model.shape), jnp.float32)
        constants = jax.make_jaxpr(dataset.from_model)(like, first).consts  # such as the parameters of a decoder
        kept = () if measure is None else (measure.identity,)
        digest = digest_of(config, seed, given, guidance_scale, params, others, solver, ts, constants, *kept)
        try:
            return check_samples(np.concatenate(partial.batches(digest, num, size, draw)), by)
        except NotFinite:
            partial.remove(digest)
            raise

    def trace(params, labels, guidance_scale: float, **how) -> jax.stages.Traced:
        given, scale = conditions_for(model, dataset, labels), guidance.traced_scale(config, guidance_scale)
        return run.trace(params, jax.random.key(0), given, scale, fixed, extras, **how)

    cast(Any, generate).trace, cast(Any, generate).evaluations = trace, (len(fixed) - 1) * solver.evals_per_step
    return generate


_SPELLINGS = {"uni_pc": "unipc", "dpmpp_2msde": "dpmpp_2m_sde", "dpmpp_3msde": "dpmpp_3m_sde"}


def config_name(name: str) -> str:
    """The name in a config of a name in :mod:`scorekit.solvers`.

    >>> [config_name(name) for name in ("AdamsBashforth", "DPMSolverPP2M", "SASolver", "ddim")]
    ['adams_bashforth', 'dpmpp_2m', 'sa_solver', 'ddim']
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    words = words.replace("dpm_solver_pp", "dpmpp_")
    return _SPELLINGS.get(words, words)


def _is_solver(thing: Any) -> bool:
    """Whether a public name is a class of solvers, or a function that returns a solver."""
    kinds = [thing]
    if inspect.isfunction(thing):
        hint = typing.get_type_hints(thing).get("return")
        kinds = list(typing.get_args(hint) or [hint])
    return all(isinstance(kind, type) and issubclass(kind, SolverBase) for kind in kinds)


def _configurable(factory: Callable[..., Any], **defaults: Any) -> Choice | None:
    """The factory with its simple arguments alone and these defaults; None if it cannot be called with them."""
    left_out = []
    for name, argument in inspect.signature(factory).parameters.items():
        if argument.default is inspect.Parameter.empty:
            if name not in bounds_of(factory):
                return None
        elif not isinstance(argument.default, (bool, int, float, str, tuple)):
            left_out.append(name)
    return Choice(factory, drop=tuple(left_out), **defaults)


def _recommended_solver(schedule: Schedule, n: int, stochastic: bool = False) -> Solver:
    """The solver of :func:`scorekit.samplers.recommended` for this number of steps.

    Args:
      stochastic: one that adds noise.
    """
    return samplers.recommended(schedule, n, stochastic=stochastic)[0]


_FLOW_MAP = Choice(
    lambda gamma=0.0, t_min=0.0: FlowMapSolver(gamma=gamma or None, t_min=t_min),
    "Jumps of a flow map.",
    gamma=Field(0.0, FRACTION, "the part of the noise that is fresh after a jump."),
    t_min=Field(0.0, Between(0, 1, "high"), "the end of the paths that the map was trained for."),
)


def _all() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {"recommended": _recommended_solver, "flow_map": _FLOW_MAP}
    for name in solvers.__all__:
        thing, ours = getattr(solvers, name), config_name(name)
        if thing not in (SolverBase, LinearSolver) and _is_solver(thing):
            defaults = {"coordinate": "flow"} if ours == "unipc" else {}  # not those of the library
            if factory := _configurable(thing, **defaults):
                found[ours] = factory
    return dict(sorted(found.items()))


SOLVERS = Choices(
    _all(),
    "recommended",
    """What takes a step; "recommended" is the solver of :func:`scorekit.samplers.recommended` for ``steps``.""",
    ("schedule", "n"),
)
