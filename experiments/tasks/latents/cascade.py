"""Draws sounds through a cascade: a model of a low sample rate, and models that each add the band above.

    python -m experiments.tasks.latents.cascade --stages=runs/phrases_1khz,runs/phrases_4khz --num=8
    python -m experiments.tasks.latents.cascade --stages=… --labels=0,40 --config.sampling.map_noise=0.2

Every stage is a run of experiments.train; those after the first are conditioned on the low-rate signal
(``config.conditions.map``, ``low_rate``), here the sounds that the previous stage has drawn. With noise-conditioning
augmentation (``config.loss.map_noise`` in training) that signal is corrupted at the level
``config.sampling.map_noise``. Fields given as ``--config.…`` apply to the last stage; the other stages keep their saved
values. A stage that was trained on crops draws sounds of full length.

Writes ``cascade.html`` with audio widgets, WAV files and ``cascade.npz`` (``x`` of the last stage and ``stage_<i>`` of
the others, ``label``) into the folder ``cascade`` of the last stage.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_arrays
from experiments.data.display import Sounds as SoundsView
from experiments.data.sounds import Sounds
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import write_report
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.runs import open_run
from experiments.tasks.latents.stages import check, draw, for_full_sounds

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, lowest rate first.", required=True)
_LABELS = flags.DEFINE_list("labels", None, "Classes to draw, as names or numbers; by default of held-out sounds.")
shared.reinterpret_weights()
_NUM, _SEED = shared.count("num", 8, "Number of sounds."), shared.seed("Seed of all noise.")


def last_config() -> Config:
    """The config of the last stage, for sounds of full length."""
    if len(_STAGES.value) < 2:
        raise ConfigError(f"--stages={','.join(_STAGES.value)}: must be at least two runs, as in runs/low,runs/high")
    return for_full_sounds(diffusion.saved(_STAGES.value[-1]))


def main(config: Config) -> str:
    names = [str(name) for name in _STAGES.value]
    folders = [Path(name).expanduser().absolute() for name in names]
    configs = [*(for_full_sounds(diffusion.saved(name)) for name in names[:-1]), config]
    check(configs, names)
    shared.check_writable(folders[-1], f"--stages={','.join(names)}")
    stages = [
        (c, open_run(c, folder, None, (c.sampling.guidance_scale,))) for c, folder in zip(configs, folders, strict=True)
    ]
    dataset = stages[-1][1].dataset
    if not isinstance(dataset, Sounds):
        raise ConfigError(f"--stages: {config.data.name} has no sounds")
    first = dataset.test["label"][:8]
    of = dataset.num_classes, dataset.class_names
    chosen = first if _LABELS.value is None else shared.classes("labels", _LABELS.value, *of)
    labels = np.resize(np.asarray(chosen, np.int32), _NUM.value)
    print(f"drawing {len(labels)} sounds through {len(stages)} stages …", flush=True)
    sounds, seconds = draw(stages, _SEED.value, labels)

    out = folders[-1] / "cascade"
    earlier = {f"stage_{i}": x for i, x in enumerate(sounds[:-1])}
    write_arrays(out / "cascade.npz", x=sounds[-1], label=labels, **earlier)
    view = dataset.view(sounds[-1])
    assert isinstance(view, SoundsView)
    length = sounds[-1].shape[1] / view.sample_rate
    rows = [
        [name, c.sampling.steps, c.sampling.guidance_scale, c.sampling.map_noise or 0.0, took / len(labels) / length]
        for name, c, took in zip(names, configs, seconds, strict=True)
    ]
    caption = "Noise on the low-rate signal; seconds of computing for a second of sound, compilation included."
    table = Table(["stage", "steps", "γ", "noise", "seconds per second"], rows, caption)
    few = {f"stage {i + 1}, {Path(name).name}": x[:8] for i, (name, x) in enumerate(zip(names, sounds, strict=True))}
    widgets = audio_widgets(out / "sounds", few, view.sample_rate, row_labels=dataset.named(labels[:8]))
    facts = {"data": dataset.name, "sounds": len(labels), "seed": _SEED.value}
    report = write_report(out / "cascade.html", f"scorekit: {dataset.name}, a cascade", facts, [table, widgets])
    print(tables_as_text([table]))
    return f"{report} and {out / 'cascade.npz'}"


if __name__ == "__main__":
    command_line.run(main, last_config, diffusion.check_fields)
