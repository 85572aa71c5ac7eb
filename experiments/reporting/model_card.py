"""The model card of an exported run: facts, how to call it, and code that draws the samples of its report."""

import dataclasses
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from experiments.cli.config import Config
from experiments.data.display import Pictures
from scorekit import guidance, samplers, solvers
from scorekit.typing import Array, Schedule, Solver


def card(config: Config, run: Any, labelled: bool, workdir: Path) -> dict[str, Any]:
    """Data, labels, steps, solver and, where the run was evaluated, metrics; ``run``, ``labelled`` as below."""
    dataset, conditions = run.dataset, [*(["labels"] if labelled else []), *run.model.extracts]
    path, sampling, classes = workdir / "evaluation.json", config.sampling, dataset.num_classes
    names = dataset.class_names
    return {
        "data": dataset.name,
        "labels": f"0 to {classes - 1}; {classes} is no class" if labelled else "none",
        **({"class_names": ", ".join(f"{label} {name}" for label, name in enumerate(names))} if names else {}),
        "conditions": ", ".join(conditions) or "none",
        "step": run.step,
        "average": sampling.ema,
        "solver": f"{sampling.solver.name}, {sampling.steps} steps on the grid {sampling.grid.name}",
        "guidance": f"{' + '.join(config.guidance)}, \u03b3 = {sampling.guidance_scale:g}",
        **(json.loads(path.read_text()) if path.exists() else {}),
    }


def example(
    name: str,
    config: Config,
    run: Any,
    labelled: bool,
    sampler: tuple[Solver, Array],
    plain: str,
    rules: Sequence[str],
) -> str | None:
    """Code that draws the first batch of samples of the report; None where a condition apart from the class, or an
    argument of a rule, is not in the folder.

    Args:
      name: the folder of the exported run.
      config: config of the run.
      run: the run, opened, of ``config``.
      labelled: whether the network has classes.
      sampler: solver and times.
      plain: ``"cond"`` or ``"uncond"``, the denoiser that is guided.
      rules: rules of :mod:`scorekit.guidance`, innermost first.
    """
    denoiser, made = _rules(config, plain, rules), _sampler(run.model.schedule, config.sampling.steps, *sampler)
    if run.model.extracts or run.model.is_flow_map or denoiser is None or made is None:
        return None
    dataset, shape = run.dataset, run.model.shape
    solver, labels = sampler[0], np.asarray(dataset.preview().labels)[: config.sampling.batch_size]
    shows = isinstance(dataset.view(np.zeros((1, *shape), np.float32)), Pictures) and not config.latents
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "from scorekit import data, guidance, io, process, samplers, solvers",
        "",
        f'loaded = io.load("{name}")',
        f"labels = {_labels(labels)}",
        f"cond, uncond = loaded.denoiser({'labels=labels' if labelled else ''}), loaded.denoiser()",
        *denoiser,
        *made,
        f"key, key_of_steps = jax.random.split(jax.random.fold_in(jax.random.key({config.seed}), 0))",
        "like = jax.ShapeDtypeStruct((len(labels), *loaded.shape), jnp.float32)",
        "x = process.sample_prior(key, loaded.schedule, like, ts[0])",
        "sample = jax.jit(lambda key, d, x, ts: samplers.sample(key, d, loaded.schedule, solver, x, ts))",
        f"x = sample({'key_of_steps' if solver.stochastic else 'None'}, denoiser, x, ts)",
        *(["x = denoiser(x, ts[-1]).x0"] if config.sampling.denoise else []),
        *([f"images = data.from_unit(x, {dataset.bins})"] if shows and dataset.bins else []),
    ]
    return "\n".join(lines)


def _labels(labels: np.ndarray) -> str:
    """The labels as an expression."""
    count, classes = len(labels), int(labels.max()) + 1
    for text in (f"np.arange({count}) % {classes}", f"np.repeat(np.arange({classes}), {count // classes})"):
        if np.array_equal(eval(text), labels):
            return text.replace("np.", "jnp.")
    return f"jnp.array({labels.tolist()})"


def _sampler(schedule: Schedule, steps: int, solver: Solver, ts: Array) -> list[str] | None:
    """Lines that make a solver and its times; None for a solver with tables."""
    ends: list[dict[str, Any]] = [{}, {"t_max": float(ts[0])}, {"t_max": float(ts[0]), "t_min": float(ts[-1])}]
    for given in ends:
        given |= {"stochastic": True} if solver.stochastic else {}
        usual, grid = samplers.recommended(schedule, steps, **given)
        if repr(usual) == repr(solver) and np.array_equal(grid, ts):
            further = "".join(f", {name}={value!r}" for name, value in given.items())
            return [f"solver, ts = samplers.recommended(loaded.schedule, {steps}{further})"]
    values = [getattr(solver, field.name) for field in dataclasses.fields(cast(Any, solver))]
    if type(solver).__name__ not in solvers.__all__ or not all(isinstance(v, int | float | str | None) for v in values):
        return None
    return [f"solver, ts = solvers.{solver!r}, jnp.array({np.asarray(ts).tolist()})"]


def _rules(config: Config, plain: str, rules: Sequence[str]) -> list[str] | None:
    """Lines that make the denoiser; None for a rule with further arguments."""
    lines = [f"denoiser = {plain}"]
    for rule in rules:
        known = {name: name for name in ("cond", "uncond", "denoiser")}
        known |= {"plain": plain, "schedule": "loaded.schedule"}
        known["guidance_scale"] = repr(float(config.sampling.guidance_scale))
        takes = inspect.signature(getattr(guidance, rule)).parameters
        given = {name: repr(value) for name, value in config.rules[rule].items() if value is not None}
        needs = {name for name, parameter in takes.items() if parameter.default is parameter.empty}
        if needs - known.keys() - given.keys():
            return None
        values = {name: value for name, value in {**known, **given}.items() if name in takes}
        lines.append(f"denoiser = guidance.{rule}({', '.join(f'{name}={value}' for name, value in values.items())})")
    return lines
