"""Draws samples from a trained model.

    python -m experiments.sample --workdir=runs/digits --config.sampling.guidance_scale=3
    python -m experiments.sample --workdir=runs/digits --labels=7,7,3 --num=60 --seed=5 --step=1000
    python -m experiments.sample --workdir=runs/digits --config.guidance=apg,interval,dynamic_threshold \
        --config.rules.apg.momentum=-0.5 --config.rules.interval.noise_max=5

Writes a picture and the samples as ``.npz`` (``x``, ``label``; of sounds also the pitches and so on that were asked
for, those of held-out examples) into ``workdir/samples``. Everything about sampling
(solver, grid, steps, γ) is overridden as ``--config.sampling.…``. ``--config.guidance`` names rules, innermost first
(:mod:`experiments.models.rules` lists them), ``--config.rules.<rule>.…`` sets their numbers.
"""

import io
import time
from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.data import representation as forms
from experiments.reporting import pictures, plots
from experiments.models.runs import open_experiment, saved_config
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import held_out_of
from scorekit.io.files import write_atomic

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_LABELS = flags.DEFINE_list("labels", None, "Classes to draw, repeated in turn; all of them by default.")
_NUM = flags.DEFINE_integer("num", 100, "Number of samples.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise.")
_OUT = flags.DEFINE_string("out", None, "Path of the results without ending; workdir/samples/sample by default.")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    scale = config.sampling.guidance_scale
    run = open_experiment(config, workdir, _STEP.value, (scale,), latents=True)
    classes = run.dataset.num_classes
    try:
        chosen = list(range(classes)) if _LABELS.value is None else [int(label) for label in _LABELS.value]
    except ValueError:
        chosen = [-1]
    if not chosen or not all(0 <= label < classes for label in chosen):
        raise ConfigError(
            f"--labels={','.join(_LABELS.value or ())}: must be classes from 0 to {classes - 1}, as in 3,1,4"
        )
    labels = np.resize(np.asarray(chosen, np.int32), _NUM.value)
    by = f"γ = {scale:g}, {' + '.join(config.guidance)}"
    print(f"drawing {_NUM.value} samples from step {run.step:,} at {by} …", flush=True)
    samples = run.generate(run.params, _SEED.value, labels, scale)
    out = Path(_OUT.value).expanduser().absolute() if _OUT.value else workdir / "samples" / "sample"
    archive = io.BytesIO()
    sounds = run.dataset.sample_rate is not None
    asked = held_out_of(run.dataset, labels) if sounds else {}
    np.savez(archive, **{**asked, "x": samples, "label": labels})
    write_atomic(f"{out}.npz", archive.getvalue())
    title = f"{run.dataset.name}, step {run.step:,}, {by}"
    if "dense_map" in run.model.extracts and not sounds:
        pictures.map_picture(Path(f"{out}_maps.png"), run.model, run.dataset, samples, labels, title=title)
    if sounds:
        picture = plots.image_grid(f"{out}.png", forms.spectrogram_images(samples), columns=10, title=title)
    elif len(run.dataset.shape) == 3:
        picture = plots.image_grid(f"{out}.png", samples, columns=min(len(labels), max(len(chosen), 10)), title=title)
    else:
        picture = plots.points_2d(f"{out}.png", {"samples": samples}, title=title)
    print(progress.final_line(f"{picture} and {out}.npz", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: saved_config(_WORKDIR.value))
