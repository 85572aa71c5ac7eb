"""Restores held-out sounds with a trained model of waveforms or of a synthesiser's controls: inverse problems of sound.

    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=gap
    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=declip --method=dps --condition=null
    python -m experiments.audio.restore_sounds --workdir=runs/wide --task=bandwidth --condition=null --steps=10 \
        --trained=runs/wide,runs/phrases_bridge
    python -m experiments.audio.restore_sounds --workdir=runs/notes_controls --task=gap

Tasks: ``gap`` (64 ms in the middle are missing), ``bandwidth`` (frequencies above an eighth of the sample rate are
lost), ``declip`` (clipped at 0.3 of each peak), ``phase`` (magnitudes only; not linear). They are solved by the methods
of :mod:`experiments.inverse.methods` that apply, or those of ``--method``. The prior is that of the sound's own
conditions (instrument, pitch, ...), or without conditions with ``--condition=null``. ``--trained`` are models of the
same sounds that were trained for the task, as a diffusion bridge or with what is observed as a condition
(``config.data.map.name=low_passed`` for ``bandwidth``); they are sampled in ``--steps`` steps too. A model of controls
(``config.data.representation.name=controls``) restores through its synthesiser, from levels of the degraded sound
(:mod:`experiments.audio.synthesised`); what is played of the analysis of the held-out sound is its ceiling. Prints both
spectral distances and the error before and after (of a gap around it; of no controls, which have no phases), and writes
``<task>.html`` with audio widgets and ``<task>.json`` into ``workdir/restored``.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.audio import problems, synthesised, trained
from experiments.audio.drawing import check_results, open_kind
from experiments.audio.long_sounds import sounds_of
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, hint, require
from experiments.configs import base
from experiments.data.dataset import Batch, evenly, preprocess, rows_of
from experiments.data.representation import needs_pitch
from experiments.data.sounds import MAPS, Sounds
from experiments.inverse import methods, tasks
from experiments.models import runs
from experiments.models.conditioning import conditions, null_conditions
from experiments.models.model import denoiser
from experiments.models.runs import Run, facts, write_results
from experiments.models.samples import check_samples
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio
from scorekit.typing import Array, Denoiser

_DEFAULTS = methods.Options(steps=50, noise_std=0.001, data_std=0.5, step_size=15.0)
_OF_CONTROLS = _DEFAULTS._replace(noise_std=0.5, step_size=0.3)
_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed("Seed of all noise.")
_TASK = flags.DEFINE_string("task", "gap", "What to do; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that apply to the task by default.")
_NUM = shared.count("num", 16, "Number of held-out sounds, evenly from the test set.")
_SHOWN = shared.count("shown", 4, "Number of sounds with audio widgets.")
_CONDITION = flags.DEFINE_string("condition", "own", "The prior: of the sound's own conditions, or null.")
_TRAINED = flags.DEFINE_list("trained", [], "Folders of runs that were trained for the task.")
_STEPS = shared.count("steps", _DEFAULTS.steps, "Steps of the methods.")
_NOISE = flags.DEFINE_float(
    "noise_std", None, "Noise of the observation, in units of the model's data; for controls the misfit of levels, "
    f"which is not added. {_DEFAULTS.noise_std}, or {_OF_CONTROLS.noise_std} for controls, by default.")  # fmt: skip
_DATA_STD = flags.DEFINE_float("data_std", _DEFAULTS.data_std, "replacement, pigdm: standard deviation of the data.")
_SIZE = flags.DEFINE_float(
    "step_size", None, "dps: size of the normalised step; "
    f"{_DEFAULTS.step_size}, or {_OF_CONTROLS.step_size} for controls, by default.")  # fmt: skip
_ITERATIONS = shared.count("iterations", _DEFAULTS.iterations, "mmps: conjugate gradients.")


def main(config: Config) -> None:
    start = time.monotonic()
    check_results(Sounds, config, _WORKDIR.value)
    check_flags(config)
    name = config.data.representation.name
    allowed = "waveform or controls: only sounds that are differentiable in what is modelled are restored"
    require(name in (None, "waveform", "controls"), "data.representation.name", name, allowed)
    runs.check_score(config, f"--workdir={_WORKDIR.value}")
    trained.check_trained(_TASK.value, _TRAINED.value, config)
    if config.data.map.name in MAPS and _CONDITION.value == "own":
        by = f"config.data.map.name={config.data.map.name}"
        raise ConfigError(f"--condition=own: {by} is computed from the sound that is restored; give --condition=null")
    run, workdir = open_kind(Sounds, config, _WORKDIR.value, _STEP.value)
    dataset, rate = run.dataset, run.dataset.sample_rate
    rows = evenly(len(dataset.test["x"]), _NUM.value)
    stored = rows_of(dataset.test, rows)
    batch = preprocess(dataset, stored)
    observed = observe(config, dataset, stored, jnp.asarray(batch["x"]))
    for method in _METHOD.value or ():
        methods.check_applicable(_TASK.value, observed.task, method)
    print(f"{_TASK.value} of {len(rows)} held-out sounds with step {run.step:,} …", flush=True)
    others = [trained.open_trained(name, _STEPS.value, _SEED.value) for name in _TRAINED.value]
    restored = {other.name: (other.restore(stored), other.evaluations) for other in others}
    sounds, table = restore(run, prior(run, batch), observed, restored, method_options(config))
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


class Observed(NamedTuple):
    """What is known of held-out sounds.

    Attributes:
      x: the sounds as the network receives them.
      y: the observation.
      task: that observes x.
      problem: that observes ``signal`` of a sound.
      signal: sounds ``(N, L)`` as ``problem`` takes them.
      sounds: what was lost and what is left, by name, and what a synthesiser plays of the analysis.
    """

    x: Array
    y: Array
    task: tasks.Task
    problem: problems.Problem
    signal: Callable[[np.ndarray], Array]
    sounds: dict[str, np.ndarray]


def observe(config: Config, dataset: Sounds, stored: Batch, x: Array) -> Observed:
    """Degrades held-out sounds, as waveforms that the network receives or as those that its synthesiser plays."""
    rate, options = dataset.sample_rate, method_options(config)
    as_sound = lambda x: np.asarray(dataset.from_model(x))
    if needs_pitch(config):
        signal = lambda sound: jnp.asarray(sound)[..., None]
        sound = signal(dataset.real(stored))
        problem = synthesised.by_levels(problems.PROBLEMS[_TASK.value](sound, rate), sound, rate)
        y = problem.task.operator(sound)
        at_peak = lambda signal: np.asarray(dataset.at_peak(jnp.asarray(signal)[..., 0]))
        sounds = {"held out": at_peak(sound), "before": at_peak(problem.task.picture(np.asarray(y)))}
        task = synthesised.played(problem.task, dataset.to_sound)
        return Observed(x, y, task, problem, signal, {**sounds, synthesised.CEILING: as_sound(x)})
    signal = lambda sound: dataset.to_model(audio.float_to_pcm(sound))
    problem = problems.PROBLEMS[_TASK.value](x, rate)
    for_noise, _ = jax.random.split(jax.random.key(_SEED.value))
    y = tasks.observe(for_noise, problem.task, x, options.noise_std)
    before = as_sound(jnp.asarray(problem.task.picture(np.asarray(y))))
    return Observed(x, y, problem.task, problem, signal, {"held out": as_sound(x), "before": before})


def restore(
    run: Run,
    model: Denoiser,
    observed: Observed,
    by_others: dict[str, tuple[np.ndarray, int]],
    options: methods.Options,
) -> tuple[dict[str, np.ndarray], Table]:
    """The sounds of every method and of models that were trained for the task, and their distances from the truth."""
    x, y, task, problem, signal, sounds = observed
    truth, through = sounds["held out"], synthesised.CEILING in sounds
    _, key = jax.random.split(jax.random.key(_SEED.value))

    rate = sounds_of(run).sample_rate

    def row(name, fit, evaluations=None, seconds=None, samples=True):
        *spectral, error = problems.distances(sounds[name], truth, problem.part, rate)
        return [name, *spectral, error if samples else None, fit, evaluations, seconds]

    rows: list[list] = [row("before", None)]
    if through:
        rows.append(row(synthesised.CEILING, tasks.consistency(task, np.asarray(x), y), samples=False))
    for method in _METHOD.value or [name for name in methods.METHODS if methods.fits(task, name)]:
        begin = time.monotonic()
        found = methods.restore(method, key, model, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        by = f"--method={method}; leave it out by naming the others"
        drawn = jnp.asarray(check_samples(np.asarray(found.x), by, "restored sounds"))
        sounds[method] = check_samples(np.asarray(run.dataset.from_model(drawn)), by, "restored sounds")
        rows.append(row(method, tasks.consistency(task, found.x, y), found.evaluations, seconds, not through))
    for name, (sound, evaluations) in by_others.items():
        sounds[name] = sound
        rows.append(row(name, tasks.consistency(problem.task, np.asarray(signal(sound)), y), evaluations))
    header = ["", "LSD (dB)", "MR-STFT loss", "error (dB)", "RMS of y - A(x)", "evaluations", "seconds"]
    where = f" within {problems.AROUND:g} s of the gap" if _TASK.value == "gap" else ""
    of = ", which is played without phases" if through else ""
    caption = (
        f"means over {len(x)} sounds{where}; error: of samples, against the sound{of}; {_CONDITION.value} conditions"
    )
    return sounds, Table(header, rows, caption)


def check_flags(config: Config) -> None:
    """Validates the flags before anything is loaded."""
    names = problems.PROBLEMS
    if _TASK.value not in names:
        raise ConfigError(f"--task={_TASK.value}: must be one of {', '.join(names)}{hint(_TASK.value, names)}")
    methods.check_options(_METHOD.value or (), method_options(config))
    if _CONDITION.value not in ("own", "null"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be own or null")


def method_options(config: Config) -> methods.Options:
    """The hyper-parameters of the methods."""
    defaults = _OF_CONTROLS if needs_pitch(config) else _DEFAULTS
    given = {"noise_std": _NOISE.value, "step_size": _SIZE.value, "data_std": _DATA_STD.value}
    given = {name: value for name, value in given.items() if value is not None}
    return defaults._replace(steps=_STEPS.value, iterations=_ITERATIONS.value, **given)


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
