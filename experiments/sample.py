"""Draws samples from a trained model.

    python -m experiments.sample --workdir=runs/digits --config.sampling.guidance_scale=3
    python -m experiments.sample --workdir=runs/digits --labels=7,7,3 --num=60 --seed=5 --step=1000
    python -m experiments.sample --workdir=runs/shapes --labels=circle,cross
    python -m experiments.sample --workdir=runs/digits --config.guidance=apg,interval --config.rules.apg.momentum=-0.5
    python -m experiments.sample --workdir=runs/two_moons --observation=observed.csv --num=5000

Writes a picture with a titled row for each class, and the samples as ``.npz`` (``x``, ``label``, and for sounds and
tables their conditions, from held-out examples) into ``workdir/samples``; of a table also ``sample.csv`` with the names
of its columns, ``columns`` in the ``.npz``, of images and sounds each as ``sample/00000.png`` or ``.wav``. Everything
about sampling (solver, grid, steps, γ) is overridden as ``--config.sampling.…``. ``--config.guidance`` names rules,
innermost first (:mod:`experiments.tasks.diffusion.guidance` lists them), ``--config.rules.<rule>.…`` sets their fields.

Samples of more than one batch (``--config.sampling.batch_size``) are kept by batch in ``partial`` beside the results
until these are written: the same command continues where it was killed.

Of a posterior, ``--observation`` is a .csv or .npz file with the columns of the condition: ``--num`` samples given each
of its rows, with their exact log-density ``log_prob``. ``label`` is then the row.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments import tasks
from experiments.cli import command_line, outputs
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_arrays
from experiments.data.dataset import Dataset, held_out_of
from experiments.data.display import Sounds
from experiments.models.conditioning import target_conditions
from experiments.models.samples import PartialSamples
from experiments.reporting.samples import write_samples
from experiments.tasks.diffusion.report import draw_maps, shows_maps
from scorekit.io import as_path

_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed()
_LABELS = flags.DEFINE_list("labels", None, "Names or numbers of classes to draw, repeated in turn; all by default.")
_NUM = shared.count("num", 100, "Number of samples; with --observation, of each row.")
_OBSERVATION = shared.define(flags.DEFINE_string, "observation", None, "Of a posterior: a file of observations.")
shared.distributed()
_OUT = shared.out("Path of the results without ending; workdir/samples/sample by default.")


def main(config: Config) -> str:
    task, workdir = tasks.of(config), shared.path(_WORKDIR, buckets=True)
    drawn_by = task.drawn_by(config)
    if not drawn_by:
        raise ConfigError(f"--workdir={_WORKDIR.value}: this run {task.OPENED_BY}")
    given = getattr(task, "samples_given", None)
    if _OBSERVATION.value is not None and given is None:
        raise ConfigError(f"--observation={_OBSERVATION.value}: must be left out, this run is no posterior")
    out = shared.results(_OUT, workdir / "samples" / "sample", ".npz", ".png", ".csv", "_maps.png")
    scale = config.sampling.guidance_scale
    run = task.open_run(config, workdir, _STEP.value, (scale,))
    if _OBSERVATION.value is not None and given is not None:
        samples = given(config, run, _OBSERVATION.value, _NUM.value, _SEED.value)
        title = f"{run.dataset.name}, step {run.step:,}, given {_OBSERVATION.value}"
        return write(out, run.dataset, title, samples)
    if _OUT.value and not run.dataset.entries:
        outputs.check_folder(f"--out={_OUT.value}", out, shared.overwrite())
    of = run.dataset.num_classes, run.dataset.class_names
    chosen = range(of[0]) if _LABELS.value is None else shared.classes("labels", _LABELS.value, *of)
    labels = np.resize(np.asarray(chosen, np.int32), _NUM.value)
    by = f"γ = {scale:g}, {drawn_by}"
    print(f"drawing {_NUM.value} samples from step {run.step:,} at {by} …", flush=True)
    beside = shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples"
    partial = PartialSamples(beside / "partial")
    samples = run.generate(run.params, _SEED.value, labels, scale, partial=partial)
    is_sound = isinstance(run.dataset.view(samples), Sounds)
    conditions = held_out_of(run.dataset, labels) if is_sound else run.dataset.shown_conditions(labels)
    title = f"{run.dataset.name}, step {run.step:,}, {by}"
    written = write(out, run.dataset, title, {**conditions, "x": samples, "label": labels})
    partial.remove()
    if shows_maps(getattr(run.model, "extracts", ()), run.dataset):
        maps = target_conditions(run.model, run.dataset, labels)["dense_map"]
        real = run.dataset.real(held_out_of(run.dataset, labels))
        draw_maps(as_path(f"{out}_maps.png"), maps, samples, real, title)
    return written


def write(out: Path, dataset: Dataset, title: str, samples: dict[str, np.ndarray]) -> str:
    """Writes samples as arrays, as a picture and as files; returns the paths."""
    columns = {"columns": np.array(dataset.entries)} if dataset.entries else {}
    arrays = write_arrays(f"{out}.npz", **samples, **columns)
    return f"{write_samples(out, dataset, title, samples)} and {arrays}"


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
