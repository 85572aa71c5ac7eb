"""Restores and edits real held-out images with a trained model.

    python -m experiments.edit --workdir=runs/digits --task=inpaint
    python -m experiments.edit --workdir=runs/digits --task=deblur --method=mmps,dps --noise_std=0.1 --condition=class
    python -m experiments.edit --workdir=runs/digits --task=sdedit --to=3 --strength=0.4,0.6,0.8
    python -m experiments.edit --workdir=runs/digits --task=invert

Tasks with an observation: inpaint (the middle is hidden), half (the lower half is), super_resolution, deblur, denoise,
colourise, saturate (not linear). They are solved by every method that can, or those of ``--method``: replacement,
repaint, dps, pigdm, mmps. ``sdedit`` noises an image and denoises it as another class; ``invert`` encodes it as its own
class and decodes it as another, with the solver of ``--config.sampling`` and the rules of ``--config.guidance``.
Writes a picture and the arrays into ``workdir/edits``, and prints a table.
"""

import io
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.models import choices as build, model
from experiments.cli import command_line, progress
from experiments import judge
from experiments.reporting import plots
from experiments.inverse import restoration
from experiments.models.runs import Experiment, config_path, open_experiment
from experiments.cli.config import Config, ConfigError, hint
from experiments.reporting.report import Table, show, tables_as_text
from scorekit import samplers
from scorekit.io.files import write_atomic
from scorekit.typing import Array, Denoiser

_DEFAULTS = restoration.Options()
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_TASK = flags.DEFINE_string("task", "inpaint", "What to do; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that can solve the task by default.")
_NUM = flags.DEFINE_integer("num", 50, "Number of held-out images.", lower_bound=1)
_SHOWN = flags.DEFINE_integer("shown", 8, "Rows of the picture.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of all noise.")
_CONDITION = flags.DEFINE_string("condition", "null", "The prior: null, or class for that of the image's true class.")
_NOISE = flags.DEFINE_float("noise_std", _DEFAULTS.noise_std, "Noise of the observation, in units of the data.")
_STEPS = flags.DEFINE_integer("steps", _DEFAULTS.steps, "Steps of the methods.", lower_bound=1)
_DATA_STD = flags.DEFINE_float("data_std", _DEFAULTS.data_std, "replacement, pigdm: standard deviation of the data.")
_SIZE = flags.DEFINE_float("step_size", _DEFAULTS.step_size, "dps: size of the normalised step.")
_ITERATIONS = flags.DEFINE_integer("iterations", _DEFAULTS.iterations, "mmps: conjugate gradients.", lower_bound=1)
_JUMP = flags.DEFINE_integer("jump_length", _DEFAULTS.jump_length, "repaint: steps of a return.", lower_bound=1)
_RESAMPLES = flags.DEFINE_integer("resamples", _DEFAULTS.resamples, "repaint: walks of each stretch.", lower_bound=1)
_TO = flags.DEFINE_integer("to", None, "sdedit, invert: the class wanted; the next one by default.")
_STRENGTH = flags.DEFINE_list("strength", "0.4,0.6,0.8", "sdedit: times t at which it starts.")

EDITS = ("sdedit", "invert")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    _check_flags()
    run = open_experiment(config, workdir, _STEP.value)
    if len(run.model.shape) != 3:
        raise ConfigError(f"--workdir={workdir}: experiments.edit needs images, these are points of {run.dataset.name}")
    if max(_TO.value or 0, 0) >= run.dataset.num_classes:
        raise ConfigError(f"--to={_TO.value}: must be a class from 0 to {run.dataset.num_classes - 1}")
    x = run.dataset.to_model(run.dataset.test["x"][: _NUM.value])
    label = jnp.asarray(run.dataset.test["label"][: _NUM.value], jnp.int32)
    seen = judge.fit_judge(np.asarray(run.dataset.to_model(run.dataset.train["x"])), run.dataset.train["label"])
    print(f"{_TASK.value} of {len(x)} held-out images with step {run.step:,} …", flush=True)
    work = {"sdedit": _sdedit, "invert": _invert}.get(_TASK.value, _restore)
    columns, table = work(config, run, seen, x, label)
    out = workdir / "edits" / _TASK.value
    archive = io.BytesIO()
    np.savez(archive, label=label, **{name.split("\n")[0]: value for name, value in columns.items()})  # type: ignore[arg-type]
    write_atomic(f"{out}.npz", archive.getvalue())
    shown = {name: value[: _SHOWN.value] for name, value in columns.items()}
    title = f"{run.dataset.name}: {_TASK.value}, {table.caption}"
    picture = plots.comparison(f"{out}.png", shown, row_labels=label[: _SHOWN.value].tolist(), title=title)
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(f"{picture} and {out}.npz", time.monotonic() - start))


def _check_flags() -> None:
    tasks = (*restoration.TASKS, *EDITS)
    if _TASK.value not in tasks:
        raise ConfigError(f"--task={_TASK.value}: must be one of {', '.join(tasks)}{hint(_TASK.value, tasks)}")
    for method in _METHOD.value or ():
        if _TASK.value in EDITS:
            raise ConfigError(f"--method={method}: must be left out, --task={_TASK.value} is a method itself")
    restoration.check_options(_METHOD.value or (), _options())
    if _CONDITION.value not in ("null", "class"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be null or class")
    if _TO.value is not None and _TO.value < 0:
        raise ConfigError(f"--to={_TO.value}: must be a class, 0 or more")
    _strengths()


def _options() -> restoration.Options:
    return restoration.Options(
        _STEPS.value, _NOISE.value, _DATA_STD.value, _SIZE.value, _ITERATIONS.value, _JUMP.value, _RESAMPLES.value
    )


def _strengths() -> list[float]:
    try:
        times = [float(text) for text in _STRENGTH.value]
    except ValueError:
        times = []
    if not times or not all(0 < t <= 1 for t in times):
        raise ConfigError(f"--strength={','.join(_STRENGTH.value)}: must be times in (0, 1], as in 0.4,0.8")
    return times


Columns = dict[str, np.ndarray]


def _restore(config: Config, run: Experiment, seen, x: Array, label: Array) -> tuple[Columns, Table]:
    """An inverse problem by several methods."""
    task = restoration.TASKS[_TASK.value](run.model.shape)
    for method in _METHOD.value or ():
        restoration.refuse_misapplied(_TASK.value, task, method)
    methods = _METHOD.value or [name for name in restoration.METHODS if restoration.fits(task, name)]
    options = _options()
    for_noise, key = jax.random.split(jax.random.key(_SEED.value))
    y = restoration.observe(for_noise, task, x, options.noise_std)
    null = jnp.full_like(label, run.dataset.num_classes)
    prior = model.denoiser(run.model, run.params, label if _CONDITION.value == "class" else null)
    picture = task.picture(np.asarray(y))
    columns: Columns = {"original": np.asarray(x), "observation": picture}
    looks = np.clip(picture, -1, 1)
    truth = [judge.class_accuracy(seen, image, np.asarray(label)) for image in (np.asarray(x), looks)]
    fit = restoration.consistency(task, np.asarray(x), y)
    rows: list[list] = [["original", None, fit, truth[0], None, None, None]]
    rows.append(["observation", restoration.psnr(looks, np.asarray(x)), None, truth[1], None, None, None])
    for method in methods:
        begin = time.monotonic()
        found = restoration.restore(method, key, prior, run.model.schedule, task, y, x.shape, options)
        seconds = time.monotonic() - begin
        image = np.asarray(run.dataset.from_model(jnp.nan_to_num(found.x)))
        decibel = restoration.psnr(image, np.asarray(x))
        columns[f"{method}\n{decibel:.1f} dB"] = image
        accuracy = judge.class_accuracy(seen, image, np.asarray(label))
        fit = restoration.consistency(task, found.x, y)
        rows.append([method, decibel, fit, accuracy, found.evaluations, found.gradients, seconds])
    header = ["", "PSNR (dB)", "RMS of y - A(x)", "class kept", "evaluations", "gradients", "seconds"]
    return columns, Table(header, rows, f"noise {options.noise_std:g}, {_CONDITION.value} prior")


def _wanted(run: Experiment, label: Array) -> Array:
    return (label + 1) % run.dataset.num_classes if _TO.value is None else jnp.full_like(label, _TO.value)


def _guided(config: Config, run: Experiment, label: Array) -> Denoiser:
    """The prior of a class behind the rules of ``config.guidance``."""
    scale = config.sampling.guidance_scale
    return model.make_guided(config, run.model)(run.params, label, None if scale == 1 else scale, run.extras)


def _sdedit(config: Config, run: Experiment, seen, x: Array, label: Array) -> tuple[Columns, Table]:
    """Noise to a time t and back as another class."""
    solver, ts = build.build_sampler(config, run.model.schedule)
    wanted, key = _wanted(run, label), jax.random.key(_SEED.value)
    columns, rows, evaluations = {"original": np.asarray(x)}, [_row(seen, x, x, label, wanted, "original", 0, 0.0)], 0
    walk = jax.jit(samplers.sdedit)
    with progress.Progress(len(_strengths()), batch_size=len(x), label="sdedit") as shown:
        for i, t in enumerate(_strengths()):
            begin = time.monotonic()
            grid = jnp.concatenate([jnp.array([t]), ts[ts < t]])
            out = walk(key, _guided(config, run, wanted), run.model.schedule, solver, x, grid)
            image = np.asarray(run.dataset.from_model(out))
            evaluations = samplers.nfe(solver, grid)
            columns[f"from t = {t:g}"] = image
            rows.append(_row(seen, image, x, label, wanted, f"from t = {t:g}", evaluations, time.monotonic() - begin))
            shown.update(i + 1)
    return columns, Table(EDIT_HEADER, rows, _towards(config))


def _invert(config: Config, run: Experiment, seen, x: Array, label: Array) -> tuple[Columns, Table]:
    """Encode as the class it is, decode as another."""
    solver, ts = build.build_sampler(config, run.model.schedule)
    if solver.stochastic:
        name = config.sampling.solver.name
        raise ConfigError(f"config.sampling.solver.name={name}: --task=invert needs a deterministic one, as dpmpp_2m")
    schedule, wanted = run.model.schedule, _wanted(run, label)
    source, target = model.denoiser(run.model, run.params, label), _guided(config, run, wanted)
    begin = time.monotonic()
    with progress.Progress(3, batch_size=len(x), label="invert") as shown:
        noise = jax.jit(samplers.invert)(source, schedule, solver, x, ts)
        shown.update(1)
        walk = jax.jit(samplers.sample)
        back = np.asarray(run.dataset.from_model(walk(None, source, schedule, solver, noise, ts)))
        shown.update(2)
        edited = np.asarray(run.dataset.from_model(walk(None, target, schedule, solver, noise, ts)))
        shown.update(3)
    seconds, evaluations = time.monotonic() - begin, samplers.nfe(solver, ts)
    columns = {"original": np.asarray(x), "noise": np.asarray(noise) / 2, "back": back, "edited": edited}
    rows = [
        _row(seen, x, x, label, wanted, "original", 0, 0.0),
        _row(seen, back, x, label, wanted, "back", 2 * evaluations, None),
        _row(seen, edited, x, label, wanted, "edited", 2 * evaluations, seconds),
    ]
    return columns, Table(EDIT_HEADER, rows, _towards(config))


EDIT_HEADER = ["", "PSNR to original (dB)", "class kept", "class wanted", "evaluations", "seconds"]


def _row(seen, image, x, label, wanted, name: str, evaluations: int, seconds: float | None) -> list:
    kept, reached = (judge.class_accuracy(seen, np.asarray(image), np.asarray(to)) for to in (label, wanted))
    likeness = None if name == "original" else restoration.psnr(np.asarray(image), np.asarray(x))
    return [name, likeness, kept, reached, evaluations or None, seconds or None]


def _towards(config: Config) -> str:
    to = "the next class" if _TO.value is None else f"class {_TO.value}"
    rules = ", ".join(config.guidance)
    return f"to {to} by {rules} at γ = {show(config.sampling.guidance_scale)}; an evaluation is all that the rules need"


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))
