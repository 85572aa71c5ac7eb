"""The model card of an exported run: facts, how to call it, and code that draws the samples of its report."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.config import Config
from experiments.data.display import Pictures
from scorekit import samplers
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


def example(name: str, config: Config, run: Any, labelled: bool, sampler: tuple[Solver, Array]) -> str | None:
    """Code that draws the first batch of samples of the report.

    None where that takes more than the folder and :func:`scorekit.samplers.recommended`: a condition apart from the
    class, a flow map, a rule other than plain guidance, another solver or grid.

    Args:
      name: the folder of the exported run.
      config: config of the run.
      run: the run, opened, of ``config``.
      labelled: whether the network has classes.
      sampler: solver and times.
    """
    (solver, ts), sampling = sampler, config.sampling
    guided = {"unconditional": "uncond", "conditional": "cond"}.get(config.guidance[0])
    if guided is None and config.guidance[0] == "classifier_free":
        guided = f"guidance.classifier_free(cond, uncond, {float(sampling.guidance_scale)})"
    recommended = _recommended(run.model.schedule, sampling.steps, solver, ts)
    plain = len(config.guidance) == 1
    if run.model.extracts or run.model.is_flow_map or not plain or guided is None or recommended is None:
        return None
    dataset, shape = run.dataset, run.model.shape
    labels = np.asarray(dataset.preview().labels)[: sampling.batch_size]
    shows = isinstance(dataset.view(np.zeros((1, *shape), np.float32)), Pictures) and not config.latents
    lines = [
        "import jax",
        "import jax.numpy as jnp",
        "from scorekit import data, guidance, io, process, samplers",
        "",
        f'loaded = io.load("{name}")',
        f"labels = {_labels(labels)}",
        f"cond, uncond = loaded.denoiser({'labels=labels' if labelled else ''}), loaded.denoiser()",
        f"denoiser = {guided}",
        f"solver, ts = {recommended}",
        f"key, key_of_steps = jax.random.split(jax.random.fold_in(jax.random.key({config.seed}), 0))",
        "like = jax.ShapeDtypeStruct((len(labels), *loaded.shape), jnp.float32)",
        "x = process.sample_prior(key, loaded.schedule, like, ts[0])",
        "sample = jax.jit(lambda key, d, x, ts: samplers.sample(d, loaded.schedule, solver, x, ts, key=key))",
        f"x = sample({'key_of_steps' if solver.stochastic else 'None'}, denoiser, x, ts)",
        *(["x = denoiser(x, ts[-1]).x0"] if sampling.denoise else []),
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


def _recommended(schedule: Schedule, steps: int, solver: Solver, ts: Array) -> str | None:
    """The call that makes a solver and its times, if it is that of ``recommended``."""
    for ends in ({}, {"t_max": float(ts[0])}, {"t_max": float(ts[0]), "t_min": float(ts[-1])}):
        given: dict[str, Any] = {**ends, **({"stochastic": True} if solver.stochastic else {})}
        usual, grid = samplers.recommended(schedule, steps, **given)
        if repr(usual) == repr(solver) and np.array_equal(grid, ts):
            further = "".join(f", {name}={value!r}" for name, value in given.items())
            return f"samplers.recommended(loaded.schedule, {steps}{further})"
    return None
