"""Restores and edits real held-out images with a trained model.

    python -m experiments.edit --workdir=runs/digits --task=inpaint
    python -m experiments.edit --workdir=runs/digits --task=deblur --method=mmps,dps --noise_std=0.1 --condition=class
    python -m experiments.edit --workdir=runs/digits --task=sdedit --to=3 --strength=0.4,0.6,0.8
    python -m experiments.edit --workdir=runs/digits --task=invert

Tasks with an observation: inpaint (the middle is hidden), half (the lower half is), super_resolution, deblur, denoise,
colourise, saturate (not linear). They are solved by every method that applies, or by the methods in ``--method``:
replacement, repaint, dps, pigdm, mmps. ``sdedit`` noises an image and denoises it as another class; ``invert`` encodes
it as its own class and decodes it as another, with the solver of ``--config.sampling`` and the rules of
``--config.guidance``. Writes an image and the arrays into ``workdir/edits``, and prints a table.
"""

import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, hint
from experiments.cli.outputs import write_arrays
from experiments.data.display import Pictures
from experiments.reporting.grids import grid
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.inverse import editing, methods, tasks
from experiments.tasks.diffusion.runs import open_score
from scorekit import metrics

_DEFAULTS = methods.Options()
_WORKDIR, _STEP, _SEED = shared.workdir(), shared.step(), shared.seed("Seed of all noise.")
_TASK = flags.DEFINE_string("task", "inpaint", "Task; see above.")
_METHOD = flags.DEFINE_list("method", None, "Methods, as in mmps,dps; all that apply to the task by default.")
_NUM = shared.count("num", 50, "Number of held-out images.")
_SHOWN = shared.count("shown", 8, "Rows of the image.")
_CONDITION = flags.DEFINE_string("condition", "null", "Prior: null, or class for the image's true class.")
_NOISE = flags.DEFINE_float("noise_std", _DEFAULTS.noise_std, "Noise of the observation, in units of the data.")
_STEPS = shared.count("steps", _DEFAULTS.steps, "Steps of the methods.")
_TO = flags.DEFINE_string("to", None, "sdedit, invert: the target class, by name or number; the next one by default.")
_STRENGTH = flags.DEFINE_list("strength", "0.4,0.6,0.8", "sdedit: times t at which it starts.")


def check_flags() -> None:
    """Validates the flags before anything is loaded."""
    choices = (*tasks.TASKS, *editing.EDITS)
    if _TASK.value not in choices:
        raise ConfigError(f"--task={_TASK.value}: must be one of {', '.join(choices)}{hint(_TASK.value, choices)}")
    named = _METHOD.value or ()
    if named and _TASK.value in editing.EDITS:
        raise ConfigError(f"--method={named[0]}: must be left out, --task={_TASK.value} is a method itself")
    methods.check_options(named, methods.Options(_STEPS.value, _NOISE.value))
    if _CONDITION.value not in ("null", "class"):
        raise ConfigError(f"--condition={_CONDITION.value}: must be null or class")
    strengths()
    where = f"with --task={_TASK.value}"
    if _TASK.value in editing.EDITS:
        shared.idle(where, _STEPS, _NOISE, _CONDITION, *([_STRENGTH] if _TASK.value == "invert" else []))
    else:
        shared.idle(where, _TO, _STRENGTH)


def strengths() -> list[float]:
    """The times of ``--strength``."""
    return shared.all_of("strength", _STRENGTH.value, float, lambda t: 0 < t <= 1, "times in (0, 1], as in 0.4,0.8")


def main(config: Config) -> str:
    workdir = shared.path(_WORKDIR)
    check_flags()
    shared.check_writable(workdir / "edits", f"--workdir={workdir}")
    run = open_score(config, workdir, _STEP.value)
    dataset, few = run.dataset, slice(_NUM.value)
    if not isinstance(dataset.view(np.zeros((1, *run.model.shape))), Pictures):
        raise ConfigError(f"--workdir={workdir}: experiments.edit needs images, these are of {dataset.name}")
    to = None
    if _TO.value is not None:
        (to,) = shared.classes("to", [_TO.value], dataset.num_classes, dataset.class_names)
    train = np.asarray(dataset.to_model(dataset.train["x"]))
    classifier = metrics.fit_reference_classifier(train, dataset.train["label"])
    label = jnp.asarray(dataset.test["label"][few], jnp.int32)
    truth = editing.Truth(dataset.to_model(dataset.test["x"][few]), label, classifier)
    print(f"{_TASK.value} of {len(label)} held-out images with step {run.step:,} …", flush=True)
    match _TASK.value:
        case "sdedit":
            columns, table = editing.sdedit(config, run, truth, to, strengths(), _SEED.value)
        case "invert":
            columns, table = editing.invert(config, run, truth, to)
        case task:
            chosen = tuple(_METHOD.value or ())
            columns, table = editing.restore(
                run, truth, task, chosen, methods.Options(_STEPS.value, _NOISE.value), _CONDITION.value, _SEED.value
            )
    print(f"{tables_as_text([table])}({table.caption})")
    out, title = workdir / "edits" / _TASK.value, f"{dataset.name}: {_TASK.value}, {table.caption}"
    versions, shown = {name.split("\n")[0]: x for name, x in columns.items()}, slice(_SHOWN.value)
    arrays = write_arrays(f"{out}.npz", label=np.asarray(label), **versions)
    cells, rows = np.stack([x[shown] for x in columns.values()], axis=1), dataset.named(label[shown])
    return f"{grid(f'{out}.png', cells, rows, list(columns), title=title, side=84)} and {arrays}"


if __name__ == "__main__":
    command_line.run(main, lambda: diffusion.saved(_WORKDIR.value), diffusion.check_fields)
