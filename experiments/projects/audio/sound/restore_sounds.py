"""Restores held-out sounds with a trained model of waveforms: inverse problems of sound.

    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/phrases --task=gap
    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/phrases --task=declip --method=dps \
        --condition=null

Tasks: ``gap`` (64 ms in the middle are missing), ``bandwidth`` (frequencies above an eighth of the sample rate are
lost), ``declip`` (clipped at 0.3 of each peak). They are solved by the methods of
:mod:`experiments.tasks.diffusion.inverse.methods` that apply, or by the methods in ``--method``. The prior has the own
conditions of the sound (instrument, pitch, ...), or none with ``--condition=null``. Prints both spectral distances and
the error before and after (for a gap the error around it), and writes ``<task>.html`` with audio widgets and
``<task>.json`` into ``workdir/restored``.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, hint, require
from experiments.cli.outputs import write_results
from experiments.data.dataset import Batch, evenly, preprocess, rows_of
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.samples import check_samples
from experiments.projects.audio.sound.problems import AROUND, PROBLEMS, distances
from experiments.projects.audio.sound.runs import check_results, open_kind, write_sound_report
from experiments.reporting.tables import Table
from experiments.tasks.diffusion import runs
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse import methods, tasks
from experiments.tasks.task import Run, facts
from scorekit.typing import Denoiser

_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed("Seed of all noise.")
_TASK = flags.DEFINE_string("task", "gap", "Task; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that apply to the task by default.")
_NUM = shared.count("num", 16, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 4, "Number of sounds with audio widgets.")
_CONDITION = flags.DEFINE_string("condition", "own", "Conditions of the prior: the sound's own, or null.")
_STEPS = shared.count("steps", 50, "Steps of the methods.")

OPTIONS = methods.Options(noise_std=0.001, data_std=0.5, step_size=15.0)
"""The hyper-parameters of the methods, in units of the data that the model receives."""
HEADER = ("", "LSD (dB)", "MR-STFT loss", "error (dB)", "RMS of y - A(x)", "evaluations", "seconds")


def check(config: Config, task: str, chosen: Sequence[str]) -> None:
    """Validates the flags and the config of the run; nothing is loaded."""
    if task not in PROBLEMS:
        raise ConfigError(f"--task={task}: must be one of {', '.join(PROBLEMS)}{hint(task, PROBLEMS)}")
    methods.check_options(chosen, OPTIONS)
    if _CONDITION.value not in ("own", "null"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be own or null")
    name = config.data.representation.name
    allowed = "waveform: only sounds that are differentiable in what is modelled are restored"
    require(name in (None, "waveform"), "data.representation.name", name, allowed)
    runs.check_score(config, f"--workdir={_WORKDIR.value}")
    if config.conditions.map.name in Sounds.maps and _CONDITION.value == "own":
        by = f"config.conditions.map.name={config.conditions.map.name}"
        raise ConfigError(f"--condition=own: {by} is computed from the sound that is restored; give --condition=null")


def prior(run: Run, batch: Batch) -> Denoiser:
    """The denoiser with the conditions of the batch, or without conditions."""
    given = conditions(run.model, batch)
    if _CONDITION.value == "null":
        given = {**null_conditions(run.model), "labels": jnp.full_like(given["labels"], run.model.num_classes)}
    return run.model.denoiser(run.params, given)


def main(config: Config) -> Path:
    check_results(Sounds, config, _WORKDIR.value)
    task, chosen, options = _TASK.value, _METHOD.value or (), OPTIONS._replace(steps=_STEPS.value)
    check(config, task, chosen)
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    dataset, rate = run.dataset, run.dataset.sample_rate
    stored = rows_of(dataset.test, evenly(len(dataset.test["x"]), _NUM.value))
    batch = preprocess(dataset, stored)
    x = jnp.asarray(batch["x"])
    problem, part = PROBLEMS[task](x, rate)
    for method in chosen:
        methods.check_applicable(task, problem, method)
    print(f"{task} of {len(x)} held-out sounds with step {run.step:,} …", flush=True)
    for_noise, key = jax.random.split(jax.random.key(_SEED.value))
    y = tasks.observe(for_noise, problem, x, options.noise_std)
    as_sound = lambda x: np.asarray(dataset.from_model(jnp.asarray(x)))
    sounds = {"held out": as_sound(x), "before": as_sound(problem.picture(np.asarray(y)))}
    row = lambda name, *costs: [name, *distances(sounds[name], sounds["held out"], part, rate), *costs]
    rows, denoiser = [row("before", None, None, None)], prior(run, batch)
    for method in chosen or [name for name in methods.METHODS if methods.fits(problem, name)]:
        begin = time.monotonic()
        restored = methods.restore(method, key, denoiser, run.model.schedule, problem, y, x.shape, options)
        seconds, by = time.monotonic() - begin, f"--method={method}; leave it out by naming the others"
        sounds[method] = as_sound(check_samples(restored.x, by, "restored sounds"))
        rows.append(row(method, tasks.consistency(problem, restored.x, y), restored.evaluations, seconds))
    where = f" within {AROUND:g} s of the gap" if task == "gap" else ""
    about = f"means over {len(x)} sounds{where}; error: of samples, against the sound; {_CONDITION.value} conditions"
    table, out = Table(HEADER, rows, about), workdir / "restored"
    write_results(out / f"{task}.json", table.records())
    shown = {name: sound[: _SHOWN.value] for name, sound in sounds.items()}
    summary, path = {**facts(run), "seed": _SEED.value, "task": task}, out / f"{task}.html"
    return write_sound_report(path, f"scorekit: {task}", summary, [table], shown, rate, folder=out / task)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
