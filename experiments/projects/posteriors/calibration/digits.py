"""Images of a trained model: inpainting and deblurring with intervals, and their coverage over held-out images.

Pixels are whole numbers, so that equal values are ordered at random. The picture has, of each image, the original, the
observation, the mean of the posterior and the width of its 90 % intervals.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from experiments.cli.progress import Progress
from experiments.models.conditioning import null_conditions
from experiments.reporting.tables import Table
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse import tasks
from experiments.tasks.diffusion.runs import open_run
from scorekit import metrics, process, samplers, solvers

TASKS, START = ("inpaint", "deblur"), 40


def measured(workdir: Path, out: Path, images: int, samples: int, noise_std: float, stages: int, steps: int) -> Table:
    """The coverage of every task, on pixels whose posterior is not a single value; writes ``out``."""
    run = open_run(diffusion.saved(str(workdir)), workdir)
    x, rows, columns = run.dataset.to_model(run.dataset.test["x"][:images]), [], []
    labels = jnp.full(samples, run.dataset.num_classes)
    prior = run.model.denoiser(run.params, {**null_conditions(run.model), "labels": labels})
    ts, schedule, original = solvers.grids.uniform(START), run.model.schedule, np.asarray(run.dataset.from_model(x))

    @jax.jit
    def draw(key, prior, operator, y):
        noise = process.sample_prior(key, schedule, jnp.zeros((samples, *run.model.shape)))
        arguments = schedule, solvers.DPMSolverPP2M(), noise, ts, operator, y, noise_std
        return samplers.annealed_posterior(key, prior, *arguments, stages=stages, steps=steps, pace=1.0 - 4.0 / stages)

    for name in TASKS:
        task = tasks.TASKS[name](run.model.shape)
        y, found, misfits = tasks.observe(jax.random.key(0), task, x, noise_std), [], []
        with Progress(len(x), batch_size=1, label=name, unit="images") as bar:
            for i, key in enumerate(jax.random.split(jax.random.key(1), len(x))):
                each = draw(key, prior, task.operator, y[i])
                found.append(np.asarray(run.dataset.from_model(each.x)))
                misfits.append(float(each.misfit))
                bar.update(i + 1)
        posteriors = np.stack(found).astype(np.float32)
        rows.append([name, *coverage(posteriors, original), float(np.mean(misfits)), START + stages * steps])
        low, high = np.quantile(posteriors, [0.05, 0.95], axis=1)
        columns.append((name, task.picture(np.asarray(y)), posteriors.mean(1), high - low))
    draw_versions(out, original, columns)
    header = ["task", "50 %", "90 %", "misfit", "evaluations"]
    return Table(header, rows, f"{len(x)} held-out images of {run.dataset.name}, noise {noise_std:g}, picture: {out}")


def coverage(posteriors: np.ndarray, original: np.ndarray) -> list[str]:
    """The coverage of 50 and 90 % intervals with its standard error over images ``(N, S, ...)``."""
    n, s = posteriors.shape[:2]
    values, truth = posteriors.reshape(n, s, -1), original.reshape(n, -1).astype(np.float32)
    unsure, covered = np.ptp(values, axis=1) > 0, []
    for value, one, kept in zip(values, truth, unsure, strict=True):
        covered.append(metrics.interval_coverage(value[None][..., kept], one[None, kept], (0.5, 0.9)).mean(1))
    return [f"{each.mean():.3f} ± {each.std(ddof=1) / n**0.5:.3f}" for each in np.transpose(covered)]


def draw_versions(out: Path, original: np.ndarray, columns: list[Any], shown: int = 8) -> None:
    """Saves the picture: a column for every image, and rows for every task."""
    names, pictures, limits = ["original"], [original[:shown]], [(original.min(), original.max())]
    for name, observation, mean, width in columns:
        names += [f"{name}: observed", "mean", "90 % width"]
        pictures += [observation[:shown], mean[:shown], width[:shown]]
        limits += [(-1.0, 1.0), limits[0], (0.0, np.ptp(original))]
    figure, axes = plt.subplots(
        len(names), len(pictures[0]), figsize=(len(pictures[0]), 1.2 * len(names)), squeeze=False, layout="constrained"
    )
    for row, name, images, (low, high) in zip(axes, names, pictures, limits, strict=True):
        row[0].set_title(name, fontsize=8, loc="left")
        for axis, image in zip(row, images, strict=True):
            axis.imshow(image.squeeze(), cmap="gray", vmin=low, vmax=high)
            axis.axis("off")
    figure.savefig(out, dpi=120, bbox_inches="tight")
    plt.close(figure)
