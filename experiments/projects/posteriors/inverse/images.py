"""Restorations of held-out images: by the methods for inverse problems, a diffusion bridge and a conditional model.

The methods take a model without any condition as their prior, and their gradients are counted alongside its
evaluations. A bridge starts at an average-pooled copy, without noise; a conditional model sees it as a dense map.
"""

import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli.config import ConfigError
from experiments.data.dataset import preprocess, rows_of
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.samples import check_samples
from experiments.reporting.tables import Cell, Table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse import methods, tasks
from experiments.tasks.diffusion.runs import open_run
from experiments.tasks.task import Run
from scorekit import metrics

MEASURED = ("PSNR (dB)", "RMS of y - A(x)", "class kept")


class HeldOut:
    """Held-out images of a run, and the measurements of their restorations."""

    def __init__(self, run: Run, num: int):
        self.batch = preprocess(run.dataset, rows_of(run.dataset.test, slice(num)))
        self.x, self.labels = jnp.asarray(self.batch["x"]), np.asarray(self.batch["label"])
        train = np.asarray(run.dataset.to_model(run.dataset.train["x"]))
        self.classifier = metrics.fit_reference_classifier(train, run.dataset.train["label"])

    def measured(self, task: tasks.Task, y: Any, images: Any, at: Any = None) -> list[Cell]:
        """The metrics :data:`MEASURED` of restored images; ``at`` explains y, by default the images."""
        images = np.asarray(images)
        at = images if at is None else at
        kept = metrics.class_accuracy(self.classifier, images, self.labels)
        return [float(metrics.psnr(images, np.asarray(self.x))), tasks.consistency(task, at, y), kept]

    def restored(
        self, run: Run, task: tasks.Task, y: Any, method: str, options: methods.Options, *, noisy: bool
    ) -> list[Cell]:
        """The same by a method for inverse problems, with its evaluations, gradients and CPU seconds.

        Noisy observations are explained by the state of the sampler, exact ones by images of the data's values.
        """
        null = {**null_conditions(run.model), "labels": jnp.full(len(self.labels), run.dataset.num_classes)}
        prior, start = run.model.denoiser(run.params, null), time.process_time()
        key, schedule = jax.random.key(int(noisy)), run.model.schedule
        found = methods.restore(method, key, prior, schedule, task, y, self.x.shape, options)
        seconds = time.process_time() - start
        images = check_samples(np.asarray(run.dataset.from_model(jnp.asarray(found.x))), method, "restored images")
        found_at = found.x if noisy else None
        return [*self.measured(task, y, images, found_at), found.evaluations, found.gradients, seconds]


def methods_table(workdir: str, num: int) -> Table:
    """Held-out images restored by every method that applies, from noisy observations of several tasks."""
    run = open_run(diffusion.saved(workdir), Path(workdir).expanduser())
    images, options, rows = HeldOut(run, num), methods.Options(), []
    for name in ("inpaint", "super_resolution", "deblur"):
        task = tasks.TASKS[name](run.model.shape)
        y = tasks.observe(jax.random.key(0), task, images.x, options.noise_std)
        for method in (m for m in methods.METHODS if methods.fits(task, m)):
            rows.append([name, method, *images.restored(run, task, y, method, options, noisy=True)[:-1]])
    header = ["task", "method", *MEASURED, "evaluations", "gradients"]
    return Table(header, rows, f"{len(images.x)} held-out images of {run.dataset.name}, noise {options.noise_std}")


def bridge_table(workdir: str, options: flags.FlagValues) -> Table:
    """Super-resolution by a bridge, and with ``options.compare`` by another model, at equal evaluations."""
    bridge = open_run(diffusion.saved(workdir), Path(workdir).expanduser(), any_coupling=True)
    if bridge.model.coupling is None or not bridge.model.coupling.starts_at_map:
        raise ConfigError(f"--workdir={workdir}: must be a run with loss.coupling.name=bridge")
    images, steps = HeldOut(bridge, options.images), [*map(int, options.evaluations)]
    task = tasks.TASKS["super_resolution"](bridge.model.shape)
    y = task.operator(images.x)

    def of_model(name: str, run: Run, n: int) -> list[Cell]:
        start = time.process_time()
        found = run.generate(run.params, 0, conditions(run.model, images.batch), 1.0, steps=n)
        seconds = time.process_time() - start
        return [name, *images.measured(task, y, found), n, 0, seconds]

    rows = [["the copy itself", *images.measured(task, y, task.picture(np.asarray(y))), None, None, None]]
    rows += [of_model("bridge", bridge, n) for n in steps]
    if options.compare:
        other = open_run(diffusion.saved(options.compare), Path(options.compare).expanduser())
        rows += [of_model("conditional model", other, n) for n in steps]
        for name in options.method:
            for n in steps:
                assumed = methods.Options(n, options.noise_std)
                rows.append([name, *images.restored(other, task, y, name, assumed, noisy=False)])
    header = ["", *MEASURED, "evaluations", "gradients", "CPU seconds, compilation too"]
    return Table(header, rows, f"{len(images.x)} held-out images of {bridge.dataset.name}, pooled over 2 x 2 pixels")
