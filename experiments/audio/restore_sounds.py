"""Restores held-out sounds with a trained model of waveforms: inverse problems of sound.

    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=gap
    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=declip --method=dps --condition=null
    python -m experiments.audio.restore_sounds --workdir=runs/wide --task=bandwidth --condition=null --steps=10 \
        --trained=runs/wide,runs/phrases_bridge

Tasks: ``gap`` (64 ms in the middle are missing), ``bandwidth`` (frequencies above an eighth of the sample rate are
lost), ``declip`` (clipped at 0.3 of each peak), ``phase`` (magnitudes only; not linear). They are solved by the methods
of :mod:`experiments.inverse.methods` that apply, or those of ``--method``. The prior is that of the sound's own
conditions (instrument, pitch, ...), or without conditions with ``--condition=null``. ``--trained`` are models of the
same sounds that were trained for the task, as a diffusion bridge or with what is observed as a condition
(``config.data.map.name=low_passed`` for ``bandwidth``); they are sampled in ``--steps`` steps too. Prints both spectral
distances and the error before and after (of a gap around it), and writes ``<task>.html`` with audio widgets and
``<task>.json`` into ``workdir/restored``.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio import problems, trained
from experiments.audio.drawing import check_results, open_kind
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, hint, require
from experiments.configs import base
from experiments.data.dataset import evenly, preprocess, rows_of
from experiments.data.sounds import MAPS, Sounds
from experiments.inverse import methods, tasks
from experiments.models import couplings
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.finite import check_samples
from experiments.models.model import denoiser
from experiments.models.runs import Run, facts, write_results
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio
from scorekit.typing import Array, Denoiser

_DEFAULTS = methods.Options(steps=50, noise_std=0.001, data_std=0.5, step_size=15.0)
_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed("Seed of all noise.")
_TASK = flags.DEFINE_string("task", "gap", "What to do; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that apply to the task by default.")
_NUM = shared.count("num", 16, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 4, "Number of sounds with audio widgets.")
_CONDITION = flags.DEFINE_string("condition", "own", "The prior: of the sound's own conditions, or null.")
_TRAINED = flags.DEFINE_list("trained", [], "Folders of runs that were trained for the task.")
_STEPS = shared.count("steps", _DEFAULTS.steps, "Steps of the methods.")
_NOISE = flags.DEFINE_float("noise_std", _DEFAULTS.noise_std, "Noise of the observation, in units of the model's data.")
_DATA_STD = flags.DEFINE_float("data_std", _DEFAULTS.data_std, "replacement, pigdm: standard deviation of the data.")
_SIZE = flags.DEFINE_float("step_size", _DEFAULTS.step_size, "dps: size of the normalised step.")
_ITERATIONS = shared.count("iterations", _DEFAULTS.iterations, "mmps: conjugate gradients.")


def main(config: Config) -> None:
    start = time.monotonic()
    check_results(Sounds, config, _WORKDIR.value)
    check_flags()
    name = config.data.representation.name
    require(name in (None, "waveform"), "data.representation.name", name, "waveform: only waveforms are restored")
    couplings.check_score(config, f"--workdir={_WORKDIR.value}")
    trained.check_trained(_TASK.value, _TRAINED.value, config)
    if config.data.map.name in MAPS and _CONDITION.value == "own":
        by = f"config.data.map.name={config.data.map.name}"
        raise ConfigError(f"--condition=own: {by} is computed from the sound that is restored; give --condition=null")
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    dataset, rate = run.dataset, run.dataset.sample_rate
    rows = evenly(len(dataset.test["x"]), _NUM.value)
    stored = rows_of(dataset.test, rows)
    batch = preprocess(dataset, stored)
    x = jnp.asarray(batch["x"])
    problem = problems.PROBLEMS[_TASK.value](x, rate)
    for method in _METHOD.value or ():
        methods.check_applicable(_TASK.value, problem.task, method)
    print(f"{_TASK.value} of {len(x)} held-out sounds with step {run.step:,} …", flush=True)
    others = [trained.open_trained(name, _STEPS.value, _SEED.value) for name in _TRAINED.value]
    restored = {other.name: (other.restore(stored), other.evaluations) for other in others}
    sounds, table = restore(run, prior(run, batch), problem, x, restored)
    out = workdir / "restored"
    write_results(out / f"{_TASK.value}.json", table.records())
    widgets = audio_widgets(out / _TASK.value, {k: s[: _SHOWN.value] for k, s in sounds.items()}, rate)
    sections = [table, Heading("Sounds"), widgets]
    summary = {**facts(run), "task": _TASK.value}
    report = write_report(out / f"{_TASK.value}.html", f"scorekit: {_TASK.value}", summary, sections)
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(report), time.monotonic() - start))


def prior(run: Run, batch) -> Denoiser:
    """The denoiser with the conditions of the batch, or without conditions."""
    given = conditions(run.model, batch)
    if _CONDITION.value == "null":
        null = null_conditions(run.model)
        given = {**null, "labels": jnp.full_like(given["labels"], run.model.num_classes)}
    return denoiser(run.model, run.params, given)


def restore(
    run: Run, model: Denoiser, problem: problems.Problem, x: Array, by_others: dict[str, tuple[np.ndarray, int]]
) -> tuple[dict[str, np.ndarray], Table]:
    """The sounds of every method and of models that were trained for the task, and their distances from the truth."""
    task, rate = problem.task, run.dataset.sample_rate  # type: ignore[attr-defined]
    options = method_options()
    for_noise, key = jax.random.split(jax.random.key(_SEED.value))
    y = tasks.observe(for_noise, task, x, options.noise_std)
    as_sound = lambda x: np.asarray(run.dataset.from_model(jnp.asarray(x)))
    truth = as_sound(x)
    sounds = {"held out": truth, "before": as_sound(task.picture(np.asarray(y)))}
    distances = lambda name: problems.distances(sounds[name], truth, problem.part, rate)
    rows: list[list] = [["before", *distances("before"), None, None, None]]
    for method in _METHOD.value or [name for name in methods.METHODS if methods.fits(task, name)]:
        begin = time.monotonic()
        found = methods.restore(method, key, model, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        by = f"--method={method}; leave it out by naming the others"
        sounds[method] = check_samples(as_sound(found.x), by, "restored sounds")
        fit = tasks.consistency(task, found.x, y)
        rows.append([method, *distances(method), fit, found.evaluations, seconds])
    for name, (sound, evaluations) in by_others.items():
        sounds[name] = sound
        fit = tasks.consistency(task, np.asarray(run.dataset.to_model(audio.float_to_pcm(sound))), y)
        rows.append([name, *distances(name), fit, evaluations, None])
    header = ["", "LSD (dB)", "MR-STFT loss", "error (dB)", "RMS of y - A(x)", "evaluations", "seconds"]
    where = f" within {problems.AROUND:g} s of the gap" if _TASK.value == "gap" else ""
    caption = f"means over {len(x)} sounds{where}; error: of samples, against the sound; {_CONDITION.value} conditions"
    return sounds, Table(header, rows, caption)


def check_flags() -> None:
    """Validates the flags before anything is loaded."""
    names = problems.PROBLEMS
    if _TASK.value not in names:
        raise ConfigError(f"--task={_TASK.value}: must be one of {', '.join(names)}{hint(_TASK.value, names)}")
    methods.check_options(_METHOD.value or (), method_options())
    if _CONDITION.value not in ("own", "null"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be own or null")


def method_options() -> methods.Options:
    """The hyper-parameters of the methods."""
    return _DEFAULTS._replace(steps=_STEPS.value, noise_std=_NOISE.value, data_std=_DATA_STD.value,
                              step_size=_SIZE.value, iterations=_ITERATIONS.value)  # fmt: skip


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
