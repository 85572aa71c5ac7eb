"""A trained run as :func:`scorekit.io.export` takes it, and the rows of its model card."""

import json
from pathlib import Path
from typing import Any

from experiments.cli.config import Config, ConfigError
from experiments.models.runs import Run
from scorekit.checks import check_finite
from scorekit.io import Loaded


def as_loaded(run: Run) -> Loaded:
    """The network with its parameters and their meaning; ``ConfigError`` unless they are finite."""
    try:
        check_finite(params=run.params)
    except ValueError as error:
        raise ConfigError(f"step {run.step} of the run cannot be exported: {error}; see --step") from None
    return Loaded(run.model.module, run.params, run.model.preconditioning, run.model.shape)


def card(config: Config, run: Run, workdir: Path) -> dict[str, Any]:
    """Data, steps, solver and, where the run was evaluated, metrics."""
    path = workdir / "evaluation.json"
    sampling = config.sampling
    return {
        "data": run.dataset.name,
        "classes": f"{run.dataset.num_classes}; label {run.dataset.num_classes} is the null token",
        "conditions": ", ".join(("labels", *run.model.extracts)),
        "step": run.step,
        "average": sampling.ema,
        "solver": f"{sampling.solver.name}, {sampling.steps} steps on the grid {sampling.grid.name}",
        "guidance": f"{' + '.join(config.guidance)}, \u03b3 = {sampling.guidance_scale:g}",
        **(json.loads(path.read_text()) if path.exists() else {}),
    }
