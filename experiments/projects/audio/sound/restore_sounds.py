"""Restores held-out sounds with a trained model of waveforms or of a synthesiser's controls: inverse problems of sound.

    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/phrases --task=gap
    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/phrases --task=declip --method=dps \
        --condition=null
    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/wide --task=bandwidth --condition=null \
        --steps=10 \
        --trained=runs/wide,runs/phrases_bridge
    python -m experiments.projects.audio.sound.restore_sounds --workdir=runs/notes_controls --task=gap

Tasks: ``gap`` (64 ms in the middle are missing), ``bandwidth`` (frequencies above an eighth of the sample rate are
lost), ``declip`` (clipped at 0.3 of each peak), ``phase`` (magnitudes only; not linear). They are solved by the methods
of :mod:`experiments.tasks.diffusion.inverse.methods` that apply, or by the methods in ``--method``. The prior has the
own conditions of the sound (instrument, pitch, ...), or none with ``--condition=null``. ``--trained`` are models of the
same sounds that were trained for the task, as a diffusion bridge or with the observation as a condition
(``config.conditions.map.name=low_passed`` for ``bandwidth``); they are sampled in ``--steps`` steps too. A model of
controls (``config.data.representation.name=controls``) restores through its synthesiser, from levels of the degraded
sound (:mod:`~experiments.projects.audio.sound.synthesised`); its best possible result is the analysis of the held-out
sound, played again.
Prints both spectral distances and the error before and after (for a gap the error around it; for controls, which have
no phases, no error), and writes ``<task>.html`` with audio widgets and ``<task>.json`` into ``workdir/restored``.
"""

from pathlib import Path

import jax.numpy as jnp
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import Sounds
from experiments.models.conditioning import conditions, null_conditions
from experiments.projects.audio.sound import restoration, trained
from experiments.projects.audio.sound.drawing import check_results, open_kind
from experiments.projects.audio.sound.sound_report import write_sound_report
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse import methods
from experiments.tasks.task import Run, facts
from scorekit.typing import Denoiser

_DEFAULTS = methods.Options(steps=50, noise_std=0.001, data_std=0.5, step_size=15.0)
_OF_CONTROLS = _DEFAULTS._replace(noise_std=0.5, step_size=0.3)
_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed("Seed of all noise.")
_TASK = flags.DEFINE_string("task", "gap", "Task; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that apply to the task by default.")
_NUM = shared.count("num", 16, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 4, "Number of sounds with audio widgets.")
_CONDITION = flags.DEFINE_string("condition", "own", "Conditions of the prior: the sound's own, or null.")
_TRAINED = flags.DEFINE_list("trained", [], "Folders of runs that were trained for the task.")
_STEPS = shared.count("steps", _DEFAULTS.steps, "Steps of the methods.")
_NOISE = flags.DEFINE_float(
    "noise_std",
    None,
    "Noise of the observation, in units of the model's data; for controls the misfit of levels, "
    f"which is not added. {_DEFAULTS.noise_std}, or {_OF_CONTROLS.noise_std} for controls, by default.",
)
_DATA_STD = flags.DEFINE_float("data_std", _DEFAULTS.data_std, "replacement, pigdm: standard deviation of the data.")
_SIZES = f"{_DEFAULTS.step_size}, or {_OF_CONTROLS.step_size} for controls, by default"
_SIZE = flags.DEFINE_float("step_size", None, f"dps: size of the normalised step; {_SIZES}.")
_ITERATIONS = shared.count("iterations", _DEFAULTS.iterations, "mmps: conjugate gradients.")


def main(config: Config) -> Path:
    check_results(Sounds, config, _WORKDIR.value)
    task, chosen, options = _TASK.value, _METHOD.value or (), method_options(config)
    given = f"--workdir={_WORKDIR.value}"
    restoration.check(config, given, task, chosen, _CONDITION.value, options, _TRAINED.value)
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    stored = rows_of(run.dataset.test, evenly(len(run.dataset.test["x"]), _NUM.value))
    batch = preprocess(run.dataset, stored)
    observed = restoration.observe(config, run, stored, jnp.asarray(batch["x"]), task, options.noise_std, _SEED.value)
    for method in chosen:
        methods.check_applicable(task, observed.task, method)
    print(f"{task} of {len(observed.x)} held-out sounds with step {run.step:,} …", flush=True)
    restored = trained.restore(_TRAINED.value, _STEPS.value, _SEED.value, stored)
    sounds, rows = restoration.restore(run, prior(run, batch), observed, chosen, restored, options, _SEED.value)
    table, out = restoration.table(rows, observed, task, _CONDITION.value), workdir / "restored"
    write_results(out / f"{task}.json", table.records())
    shown = {name: sound[: _SHOWN.value] for name, sound in sounds.items()}
    path, rate = out / f"{task}.html", run.dataset.sample_rate
    summary = {**facts(run), "seed": _SEED.value, "task": task}
    return write_sound_report(path, f"scorekit: {task}", summary, [table], shown, rate, folder=out / task)


def prior(run: Run, batch) -> Denoiser:
    """The denoiser with the conditions of the batch, or without conditions."""
    given = conditions(run.model, batch)
    if _CONDITION.value == "null":
        given = {**null_conditions(run.model), "labels": jnp.full_like(given["labels"], run.model.num_classes)}
    return run.model.denoiser(run.params, given)


def method_options(config: Config) -> methods.Options:
    """The hyper-parameters of the methods."""
    given = {"noise_std": _NOISE.value, "step_size": _SIZE.value, "data_std": _DATA_STD.value}
    given = {name: value for name, value in given.items() if value is not None}
    defaults = _OF_CONTROLS if config.data.representation.name == "controls" else _DEFAULTS
    return defaults._replace(steps=_STEPS.value, iterations=_ITERATIONS.value, **given)


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
