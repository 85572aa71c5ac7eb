"""Draws samples from a trained model.

    python -m experiments.sample --workdir=runs/digits --config.sampling.guidance_scale=3
    python -m experiments.sample --workdir=runs/digits --labels=7,7,3 --num=60 --seed=5 --step=1000
    python -m experiments.sample --workdir=runs/digits --config.guidance=apg,interval,dynamic_threshold \
        --config.rules.apg.momentum=-0.5 --config.rules.interval.noise_max=5

Writes a picture and the samples as ``.npz`` (``x``, ``label``, and the conditions of sounds, those of held-out
examples) into ``workdir/samples``. Everything about sampling (solver, grid, steps, γ) is overridden as
``--config.sampling.…``. ``--config.guidance`` names rules, innermost first (:mod:`experiments.models.rules` lists
them), ``--config.rules.<rule>.…`` sets their fields.

Samples of more than one batch (``--config.sampling.batch_size``) are kept by batch in ``partial`` beside the results
until these are written: the same command continues where it was killed.
"""

import time

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import kinds
from experiments.data.dataset import held_out_of
from experiments.data.views import Sounds
from experiments.models.model import Model
from experiments.models.partial import PartialSamples
from experiments.models.runs import open_run, write_arrays
from experiments.reporting import pictures
from experiments.sequences import runs as sequence_runs
from scorekit.io import as_path

_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed()
_LABELS = flags.DEFINE_list("labels", None, "Classes to draw, repeated in turn; all of them by default.")
_NUM = shared.count("num", 100, "Number of samples.")
shared.distributed()
_OUT = shared.out("Path of the results without ending; workdir/samples/sample by default.")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir, scale = shared.path(_WORKDIR, buckets=True), config.sampling.guidance_scale
    out = shared.results(_OUT, workdir / "samples" / "sample", ".npz", ".png", "_maps.png")
    of_sequences = kinds.is_sequence(config)
    if of_sequences:
        run = sequence_runs.open_run(config, workdir, _STEP.value, (scale,))
    else:
        run = open_run(config, workdir, _STEP.value, (scale,), on_latents=True, any_coupling=True)
    num_classes = run.dataset.num_classes
    chosen = range(num_classes) if _LABELS.value is None else shared.classes("labels", _LABELS.value, num_classes)
    labels = np.resize(np.asarray(chosen, np.int32), _NUM.value)
    by = f"γ = {scale:g}, {config.model if of_sequences else ' + '.join(config.guidance)}"
    print(f"drawing {_NUM.value} samples from step {run.step:,} at {by} …", flush=True)
    beside = shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples"
    partial = PartialSamples(beside / "partial")
    samples = run.generate(run.params, _SEED.value, labels, scale, partial=partial)
    is_sound = isinstance(run.dataset.view(samples), Sounds)
    conditions = held_out_of(run.dataset, labels) if is_sound else {}
    write_arrays(f"{out}.npz", **{**conditions, "x": samples, "label": labels})
    partial.remove()
    title = f"{run.dataset.name}, step {run.step:,}, {by}"
    if isinstance(run.model, Model) and pictures.shows_maps(run.model, run.dataset):
        pictures.map_picture(as_path(f"{out}_maps.png"), run.model, run.dataset, samples, labels, title=title)
    columns = min(len(labels), max(len(chosen), 10))
    picture = pictures.picture_of(as_path(f"{out}.png"), run.dataset, samples, columns=columns, title=title)
    print(progress.final_line(f"{picture} and {out}.npz", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: kinds.saved(_WORKDIR.value), kinds.check_fields)
