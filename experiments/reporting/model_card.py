"""The model card of an exported run: facts, how to call it, and code that draws the samples of its report."""

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any, cast

import numpy as np

from experiments.cli.config import Config
from experiments.data.display import Pictures
from experiments.models import guidance as configured
from experiments.models.model import takes_labels
from experiments.models.runs import Run
from experiments.models.sampling import build_sampler
from scorekit import guidance, samplers, solvers
from scorekit.typing import Array, Schedule, Solver


def card(config: Config, run: Run, workdir: Path) -> dict[str, Any]:
    """Data, labels, steps, solver and, where the run was evaluated, metrics."""
    path, sampling, classes = workdir / "evaluation.json", config.sampling, run.dataset.num_classes
    names = run.dataset.class_names
    return {
        "data": run.dataset.name,
        "labels": f"0 to {classes - 1}; {classes} is no class" if takes_labels(run.model) else "none",
        **({"class_names": ", ".join(f"{label} {name}" for label, name in enumerate(names))} if names else {}),
        "conditions": ", ".join((*(["labels"] if takes_labels(run.model) else []), *run.model.extracts)) or "none",
        "step": run.step,
        "average": sampling.ema,
        "solver": f"{sampling.solver.name}, {sampling.steps} steps on the grid {sampling.grid.name}",
        "guidance": f"{' + '.join(config.guidance)}, \u03b3 = {sampling.guidance_scale:g}",
        **(json.loads(path.read_text()) if path.exists() else {}),
    }


def example(config: Config, run: Run, name: str) -> str | None:
    """Code that draws the first batch of samples of the report from the folder ``name``; None where a condition apart
    from the class, or another network, takes part, which the folder does not hold."""
    rules, (solver, ts) = _rules(config), build_sampler(config, run.model.schedule)
    made = _sampler(run.model.schedule, config.sampling.steps, solver, ts)
    if run.model.extracts or run.model.is_flow_map or rules is None or made is None:
        return None
    dataset, labelled = run.dataset, takes_labels(run.model)
    labels = np.asarray(dataset.preview().labels)[: config.sampling.batch_size]
    shows = isinstance(dataset.view(np.zeros((1, *run.model.shape), np.float32)), Pictures) and not config.latents
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "from scorekit import data, guidance, io, process, samplers, solvers",
        "",
        f'loaded = io.load("{name}")',
        f"labels = {_labels(labels)}",
        f"cond, uncond = loaded.denoiser({'labels=labels' if labelled else ''}), loaded.denoiser()",
        *rules,
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
        found, grid = samplers.recommended(schedule, steps, **given)
        if repr(found) == repr(solver) and np.array_equal(grid, ts):
            further = "".join(f", {name}={value!r}" for name, value in given.items())
            return [f"solver, ts = samplers.recommended(loaded.schedule, {steps}{further})"]
    values = [getattr(solver, field.name) for field in dataclasses.fields(cast(Any, solver))]
    if type(solver).__name__ not in solvers.__all__ or not all(isinstance(v, int | float | str | None) for v in values):
        return None
    return [f"solver, ts = solvers.{solver!r}, jnp.array({np.asarray(ts).tolist()})"]


def _rules(config: Config) -> list[str] | None:
    """Lines that make the denoiser; None for a rule that needs another network or changes γ over time."""
    scale, (first, *wrappers) = config.sampling.guidance_scale, config.guidance
    plain = configured.RULES[first].traits.plain
    bases = {"conditional": "cond", "unconditional": "uncond"}
    if config.sampling.guidance_shape.name != "constant":
        return None
    lines = [f"denoiser = {bases.get(first, plain)}"]
    for rule in [*([] if first in bases or configured.is_plain(config, scale) else [first]), *wrappers]:
        if hasattr(configured, f"_{rule}"):
            return None
        known = {name: name for name in ("cond", "uncond", "denoiser")}
        known |= {"plain": plain, "schedule": "loaded.schedule", "guidance_scale": repr(float(scale))}
        takes = inspect.signature(getattr(guidance, rule)).parameters
        given = {name: repr(value) for name, value in config.rules[rule].items() if value is not None}
        needs = {name for name, parameter in takes.items() if parameter.default is parameter.empty}
        if needs - known.keys() - given.keys():
            return None
        values = {name: value for name, value in {**known, **given}.items() if name in takes}
        lines.append(f"denoiser = guidance.{rule}({', '.join(f'{name}={value}' for name, value in values.items())})")
    return lines
