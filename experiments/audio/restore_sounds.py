"""Restores held-out sounds with a trained model of waveforms: inverse problems of sound.

    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=gap
    python -m experiments.audio.restore_sounds --workdir=runs/phrases --task=declip --method=dps --condition=null --num=16

Tasks: ``gap`` (64 ms in the middle are missing), ``bandwidth`` (what is above an eighth of the sample rate is lost),
``declip`` (cut off at 0.3 of each peak), ``phase`` (magnitudes only; not linear). They are solved by the
methods of :mod:`experiments.inverse.restoration` that can, or those of ``--method``. The prior is that of the sound's own
conditions (instrument, pitch, ...), or of none with ``--condition=null``. Prints both spectral distances and the error
before and after (of a gap around it), and writes ``<task>.html`` with players and ``<task>.json`` into
``workdir/restored``.
"""

import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.models import model
from experiments.reporting import audio_widgets as players
from experiments.inverse import restoration
from experiments.models.runs import Experiment, config_path, open_experiment
from experiments.cli.config import Config, ConfigError, hint
from experiments.data.dataset import as_seen, evenly
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from experiments.inverse.restoration import Task
from scorekit import audio
from scorekit.guidance import operators
from scorekit.io.files import write_atomic
from scorekit.networks import ABSENT
from scorekit.typing import Array, Denoiser

_DEFAULTS = restoration.Options(steps=50, noise_std=0.001, data_std=0.5, step_size=15.0)
GAP, AROUND = 0.064, 0.064
"""Seconds that are missing, and that are looked at on either side."""
CLIPPED_AT = 0.3
CUTOFF = 0.125

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_TASK = flags.DEFINE_string("task", "gap", "What to do; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that can solve the task by default.")
_NUM = flags.DEFINE_integer("num", 16, "Number of held-out sounds, evenly from the test set.", lower_bound=1)
_SHOWN = flags.DEFINE_integer("shown", 4, "Number of sounds to listen to.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all noise.")
_CONDITION = flags.DEFINE_string("condition", "own", "The prior: of the sound's own conditions, or null.")
_STEPS = flags.DEFINE_integer("steps", _DEFAULTS.steps, "Steps of the methods.", lower_bound=1)
_NOISE = flags.DEFINE_float("noise_std", _DEFAULTS.noise_std, "Noise of the observation, in units of the model's data.")
_DATA_STD = flags.DEFINE_float("data_std", _DEFAULTS.data_std, "replacement, pigdm: standard deviation of the data.")
_SIZE = flags.DEFINE_float("step_size", _DEFAULTS.step_size, "dps: size of the normalised step.")
_ITERATIONS = flags.DEFINE_integer("iterations", _DEFAULTS.iterations, "mmps: conjugate gradients.", lower_bound=1)


class Problem(NamedTuple):
    """A task on sounds.

    Attributes:
      task: what is observed; its ``picture`` is the sound before restoration, in the form of the model.
      part: the samples that are compared.
    """

    task: Task
    part: slice


def _gap(x: Array, rate: int) -> Problem:
    length, hidden, around = x.shape[1], round(GAP * rate), round(AROUND * rate)
    first = (length - hidden) // 2
    keep = np.ones((length, 1), np.float32)
    keep[first : first + hidden] = 0.0
    task = Task(operators.mask(jnp.asarray(keep)), lambda y: y, keep)
    return Problem(task, slice(max(first - around, 0), first + hidden + around))


def _bandwidth(x: Array, rate: int) -> Problem:
    del x, rate
    kernel = jnp.asarray(operators.low_pass_kernel(CUTOFF, 32), jnp.float32)
    return Problem(Task(operators.blur(kernel, "zero"), lambda y: y), slice(None))


def _declip(x: Array, rate: int) -> Problem:
    del rate
    level = jnp.maximum(CLIPPED_AT * jnp.abs(x).max(axis=1, keepdims=True), 1e-3)
    return Problem(Task(operators.clip(level, jnp.abs(x) < level), lambda y: y), slice(None))


def _magnitudes(hop: int, window: Array, x: Array) -> Array:
    return audio.magnitude(audio.stft(x[..., 0], window, hop))


def _phase(x: Array, rate: int) -> Problem:
    """Before restoration: Griffin and Lim's phases."""
    window, hop, length = audio.hann(max(round(0.032 * rate), 4)), max(round(0.008 * rate), 1), x.shape[1]
    operator = jax.tree_util.Partial(functools.partial(_magnitudes, hop), jnp.asarray(window, jnp.float32))

    def picture(y):
        return np.asarray(audio.griffin_lim(jax.random.key(0), jnp.asarray(y), window, hop, length).x)[..., None]

    return Problem(Task(operator, picture, linear=False), slice(None))


PROBLEMS: dict[str, Callable[[Array, int], Problem]] = {
    "gap": _gap,
    "bandwidth": _bandwidth,
    "declip": _declip,
    "phase": _phase,
}


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    _check_flags()
    run = open_experiment(config, workdir, _STEP.value)
    rate = run.dataset.sample_rate
    if rate is None or config.data.form.name not in (None, "waveform"):
        raise ConfigError(f"--workdir={workdir}: experiments.audio.restore_sounds needs a model of waveforms")
    rows = evenly(len(run.dataset.test["x"]), _NUM.value)
    batch = as_seen(run.dataset, {name: value[rows] for name, value in run.dataset.test.items()})
    x = jnp.asarray(batch["x"])
    problem = PROBLEMS[_TASK.value](x, rate)
    for method in _METHOD.value or ():
        restoration.refuse_misapplied(_TASK.value, problem.task, method)
    print(f"{_TASK.value} of {len(x)} held-out sounds with step {run.step:,} …", flush=True)
    sounds, table = restore(run, prior(run, batch), problem, x)
    out = workdir / "restored"
    write_atomic(out / f"{_TASK.value}.json", json.dumps(table.records(), indent=2) + "\n")
    heard = players.players(out / _TASK.value, {k: s[: _SHOWN.value] for k, s in sounds.items()}, rate)
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "task": _TASK.value}
    write_report(out / f"{_TASK.value}.html", f"scorekit: {_TASK.value}", facts, [table, Heading("Sounds"), heard])
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(out / f"{_TASK.value}.html"), time.monotonic() - start))


def prior(run: Experiment, batch) -> Denoiser:
    """The denoiser at the conditions of the batch, or at none."""
    given = model.conditions(run.model, batch)
    if _CONDITION.value == "null":
        given = {name: ABSENT for name in given} | {"labels": jnp.full_like(given["labels"], run.model.num_classes)}
    return model.denoiser(run.model, run.params, given)


def restore(run: Experiment, denoiser: Denoiser, problem: Problem, x: Array) -> tuple[dict[str, np.ndarray], Table]:
    """Every method's sounds, and how far each is from the truth."""
    task, rate = problem.task, run.dataset.sample_rate
    assert rate is not None
    options = _options()
    for_noise, key = jax.random.split(jax.random.key(_SEED.value))
    y = restoration.observe(for_noise, task, x, options.noise_std)
    as_sound = lambda x: np.asarray(run.dataset.from_model(jnp.nan_to_num(jnp.asarray(x))))
    truth = as_sound(x)
    sounds = {"held out": truth, "before": as_sound(task.picture(np.asarray(y)))}
    distances = lambda name: _distances(sounds[name], truth, problem.part, rate)
    rows: list[list] = [["before", *distances("before"), None, None, None]]
    for method in _METHOD.value or [name for name in restoration.METHODS if restoration.fits(task, name)]:
        begin = time.monotonic()
        found = restoration.restore(method, key, denoiser, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        sounds[method] = as_sound(found.x)
        fit = restoration.consistency(task, found.x, y)
        rows.append([method, *distances(method), fit, found.evaluations, seconds])
    header = ["", "LSD (dB)", "MR-STFT loss", "error (dB)", "RMS of y - A(x)", "evaluations", "seconds"]
    where = f" within {AROUND:g} s of the gap" if _TASK.value == "gap" else ""
    caption = f"means over {len(x)} sounds{where}; error: of samples, against the sound; {_CONDITION.value} conditions"
    return sounds, Table(header, rows, caption)


def _distances(x: np.ndarray, truth: np.ndarray, part: slice, rate: int) -> tuple[float, float, float]:
    """Log-spectral distance, multi-resolution loss, and the energy of the error over that of the sound in dB."""
    x, truth = x[:, part], truth[:, part]
    heard = np.max(np.abs(truth), axis=1) > 1e-3  # a sound that is silent there has nothing to be restored
    x, truth = x[heard], truth[heard]
    error = np.sum(np.square(x - truth), axis=1) / np.sum(np.square(truth), axis=1)
    lsd = np.mean(audio.log_spectral_distance(x, truth, rate))
    return (
        float(lsd),
        float(np.mean(audio.multi_resolution_stft_loss(x, truth, rate))),
        float(np.mean(10 * np.log10(np.maximum(error, 1e-12)))),
    )


def _check_flags() -> None:
    if _TASK.value not in PROBLEMS:
        raise ConfigError(f"--task={_TASK.value}: must be one of {', '.join(PROBLEMS)}{hint(_TASK.value, PROBLEMS)}")
    restoration.check_options(_METHOD.value or (), _options())
    if _CONDITION.value not in ("own", "null"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be own or null")


def _options() -> restoration.Options:
    return _DEFAULTS._replace(steps=_STEPS.value, noise_std=_NOISE.value, data_std=_DATA_STD.value,
                              step_size=_SIZE.value, iterations=_ITERATIONS.value)  # fmt: skip


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))
