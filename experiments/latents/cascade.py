"""Draws sounds through a cascade: a model of a low sample rate, and models that each add the band above.

    python -m experiments.latents.cascade --stages=runs/phrases_1khz,runs/phrases_4khz --num=8
    python -m experiments.latents.cascade --stages=… --labels=0,40 --config.sampling.map_noise=0.2 --config.sampling.steps=10

Every stage is a run of experiments.train; those after the first are told the low-rate signal (``config.data.map``,
``low_rate``), here that of the sounds that the stage before has drawn. With noise-conditioning augmentation
(``config.loss.map_noise`` in training) that signal is corrupted at the level ``config.sampling.map_noise``. Fields
given as ``--config.…`` are those of the last stage; the others keep what they were saved with. A stage that was trained
on pieces draws whole sounds.

Writes ``cascade.html`` with players, WAV files and ``cascade.npz`` (``x`` of the last stage and ``stage_<i>`` of the
others, ``label``) into the folder ``cascade`` of the last stage.
"""

import io
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.reporting import audio_widgets as players
from experiments.models.runs import open_experiment, saved_config
from experiments.cli.config import Config, ConfigError
from experiments.reporting.report import Table, tables_as_text, write_report
from experiments.latents.stages import Stage, check, draw, whole
from scorekit.io.files import write_atomic

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, lowest rate first.", required=True)
_LABELS = flags.DEFINE_list("labels", None, "Classes to draw, repeated in turn; those of the first held-out sounds.")
_NUM = flags.DEFINE_integer("num", 8, "Number of sounds.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all noise.")


def last_config() -> Config:
    """The config of the last stage, for whole sounds."""
    if len(_STAGES.value) < 2:
        raise ConfigError(f"--stages={','.join(_STAGES.value)}: must be at least two runs, as in runs/low,runs/high")
    return whole(saved_config(_STAGES.value[-1]))


def main(config: Config) -> None:
    start = time.monotonic()
    names = [str(name) for name in _STAGES.value]
    folders = [Path(name).expanduser().absolute() for name in names]
    configs = [*(whole(saved_config(name)) for name in names[:-1]), config]
    check(configs, names)
    stages = [
        Stage(c, open_experiment(c, folder, None, (c.sampling.guidance_scale,), latents=True))
        for c, folder in zip(configs, folders, strict=True)
    ]
    dataset = stages[-1].run.dataset
    if dataset.sample_rate is None:
        raise ConfigError(f"--stages: {dataset.name} has no sounds")
    try:
        chosen = dataset.test["label"][:8] if _LABELS.value is None else np.array([int(k) for k in _LABELS.value])
    except ValueError:
        raise ConfigError(f"--labels={','.join(_LABELS.value or ())}: must be classes, as in 0,40") from None
    labels = np.resize(np.asarray(chosen, np.int32), _NUM.value)
    print(f"drawing {len(labels)} sounds through {len(stages)} stages …", flush=True)
    sounds, seconds = draw(stages, _SEED.value, labels)

    out = folders[-1] / "cascade"
    archive = io.BytesIO()
    before: dict[str, Any] = {f"stage_{i}": x for i, x in enumerate(sounds[:-1])}
    np.savez(archive, x=sounds[-1], label=labels, **before)
    write_atomic(out / "cascade.npz", archive.getvalue())
    length = sounds[-1].shape[1] / dataset.sample_rate
    rows = [
        [name, c.sampling.steps, c.sampling.guidance_scale, c.sampling.map_noise or 0.0, took / len(labels) / length]
        for name, c, took in zip(names, configs, seconds, strict=True)
    ]
    caption = "Noise on the low-rate signal; seconds of computing for a second of sound, compilation included."
    table = Table(["stage", "steps", "γ", "noise", "seconds per second"], rows, caption)
    few = {f"stage {i + 1}, {Path(name).name}": x[:8] for i, (name, x) in enumerate(zip(names, sounds, strict=True))}
    heard = players.players(out / "sounds", few, dataset.sample_rate, row_labels=labels[:8].tolist())
    facts = {"data": dataset.name, "sounds": len(labels), "seed": _SEED.value}
    report = write_report(out / "cascade.html", f"scorekit: {dataset.name}, a cascade", facts, [table, heard])
    print(tables_as_text([table]))
    print(progress.final_line(f"{report} and {out / 'cascade.npz'}", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, last_config)
