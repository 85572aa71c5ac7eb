"""Super-resolution by a diffusion bridge, by a conditional model and by the methods for inverse problems.

    python -m experiments.benchmarks.bridges --workdir=runs/digits_bridge --compare=runs/digits_superres

Held-out images are restored from their average-pooled copies, without noise, at the same numbers of evaluations. The
bridge starts at the copy; the conditional model sees it as a dense map; the methods for inverse problems take the same
model without any condition as their prior, and their gradients are counted beside its evaluations.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.data.dataset import preprocess, rows_of
from experiments.inverse import methods, tasks
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.model import denoiser
from experiments.models.runs import Run, open_run
from experiments.models.samples import check_samples
from experiments.reporting.report import Table, tables_as_text
from scorekit import metrics

_WORKDIR = shared.workdir("Folder of a run of experiments.train with loss.coupling.name=bridge.")
_COMPARE = flags.DEFINE_string("compare", None, "Folder of a run with data.map.name=average_pool.")
_STEPS = flags.DEFINE_list("steps", ["1", "2", "5", "10", "25"], "Numbers of evaluations.")
_IMAGES = shared.count("images", 100, "Held-out images.")
_ASSUMED = flags.DEFINE_float("noise_std", 0.02, "Noise that the methods for inverse problems assume.", lower_bound=0.0)
_METHODS = flags.DEFINE_list("method", ["replacement", "pigdm", "mmps", "dps"], "Methods for inverse problems.")
TASK = "super_resolution"


class Problem:
    """Held-out images, their copies, and what restorations are measured by."""

    def __init__(self, run: Run, num: int):
        self.batch = preprocess(run.dataset, rows_of(run.dataset.test, slice(num)))
        self.x, self.labels = jnp.asarray(self.batch["x"]), np.asarray(self.batch["label"])
        self.task = tasks.TASKS[TASK](run.model.shape)
        self.y = self.task.operator(self.x)
        train = np.asarray(run.dataset.to_model(run.dataset.train["x"]))
        self.classifier = metrics.fit_reference_classifier(train, run.dataset.train["label"])

    def row(self, name: str, images, evaluations: int | None, gradients: int | None, seconds: float | None) -> list:
        """The metrics of restored images."""
        psnr = float(metrics.psnr(np.asarray(images), np.asarray(self.x)))
        fit = tasks.consistency(self.task, np.asarray(images), self.y)
        kept = metrics.class_accuracy(self.classifier, np.asarray(images), self.labels)
        return [name, psnr, fit, kept, evaluations, gradients, seconds]


def of_model(name: str, run: Run, problem: Problem, steps: int) -> list:
    """Samples of a model given the copies and the classes."""
    start = time.process_time()
    found = run.generate(run.params, 0, conditions(run.model, problem.batch), 1.0, steps=steps)
    seconds = time.process_time() - start
    return problem.row(name, found, steps, 0, seconds)


def of_method(name: str, run: Run, problem: Problem, steps: int) -> list:
    """A method for inverse problems with the unconditional model as its prior."""
    null = {**null_conditions(run.model), "labels": jnp.full(len(problem.labels), run.dataset.num_classes)}
    prior, options = denoiser(run.model, run.params, null), methods.Options(steps, _ASSUMED.value)
    start = time.process_time()
    schedule, shape = run.model.schedule, problem.x.shape
    found = methods.restore(name, jax.random.key(0), prior, schedule, problem.task, problem.y, shape, options)
    seconds = time.process_time() - start
    image = check_samples(np.asarray(run.dataset.from_model(jnp.asarray(found.x))), name, "restored images")
    return problem.row(name, image, found.evaluations, found.gradients, seconds)


def main(_) -> None:
    bridge = open_run(base.saved(_WORKDIR.value), Path(_WORKDIR.value).expanduser(), any_coupling=True)
    if bridge.model.coupling is None or not bridge.model.coupling.starts_at_map:
        raise ConfigError(f"--workdir={_WORKDIR.value}: must be a run with loss.coupling.name=bridge")
    problem, steps = Problem(bridge, _IMAGES.value), list(map(int, _STEPS.value))
    copies = problem.task.picture(np.asarray(problem.y))
    rows = [problem.row("the copy itself", copies, None, None, None)]
    rows += [of_model("bridge", bridge, problem, n) for n in steps]
    if _COMPARE.value:
        other = open_run(base.saved(_COMPARE.value), Path(_COMPARE.value).expanduser())
        rows += [of_model("conditional model", other, problem, n) for n in steps]
        rows += [of_method(name, other, problem, n) for name in _METHODS.value for n in steps]
    header = [
        "",
        "PSNR (dB)",
        "RMS of y - A(x)",
        "class kept",
        "evaluations",
        "gradients",
        "CPU seconds, compilation too",
    ]
    caption = f"{len(problem.labels)} held-out images of {bridge.dataset.name}, pooled over 2 x 2 pixels"
    print(f"\n{tables_as_text([Table(header, rows, caption)])}({caption})", flush=True)


if __name__ == "__main__":
    app.run(main)
