"""Samples of few steps: models that are made for them, and other models with the best of their usual solvers.

    python -m experiments.benchmarks.few_steps --workdir=runs/digits --students=runs/digits_fast,runs/a/rounds/4
    python -m experiments.benchmarks.few_steps --table=methods --workdir=runs/digits --out=runs/few_steps --seconds=350
    python -m experiments.benchmarks.few_steps --table=notes --workdir=runs/notes_teacher --students=runs/a,runs/b
    python -m experiments.benchmarks.few_steps --table=vocoders --workdir=runs/vocoder --steps=2,6,25 --iterations=8,30
    python -m experiments.benchmarks.few_steps --table=straightness --workdir=runs/coupled_2d,runs/flow_2d

``students``: students of ``config.task=student`` alongside their teacher (:mod:`.of_students`). ``methods``: every loss
and student, trained for ``--seconds`` of CPU time without compilation, with AdamW in batches of 64 (drifting: 256)
whatever ``config.training`` says, from the parameters of the teacher or, ``data_…``, from random ones
(``data_consistency_tuning`` from the teacher's). The teacher is guided as in its config, and so are its students.
Models trained from data, as ``drifting`` is too, are not guided, except for ``…any_scale``, which have γ as a
condition. *±* is the standard error over ``--seeds`` draws. ``notes``, ``vocoders``: flow maps and other models of
sounds (:mod:`.of_notes`, :mod:`.of_vocoders`), with their rows in ``workdir/few_steps`` and a report that plays some.
``straightness``: the paths of rectified flows (:mod:`.straightness`).

Rows of ``methods``, ``notes`` and ``vocoders`` are kept: the same command continues where it was stopped, and rows of
other flags, config fields or runs are an error.
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks.few_steps import methods, of_notes, of_students, of_vocoders, rows, straightness, teacher
from experiments.benchmarks.options import chosen, with_defaults
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base

_USUAL = {"seed": 0, "seeds": 3, "shown": 4, "grids": teacher.GRIDS}
DEFAULTS: dict[str, dict[str, Any]] = {
    "students": {**_USUAL, "num": 1500, "seed": 1, "seeds": 1},
    "methods": {**_USUAL, "num": 1500, "seed": 1},
    "notes": {**_USUAL, "num": 512, "shown": 6, "grids": ["log_snr", "uniform"]},
    "vocoders": {**_USUAL, "num": 48},
    "straightness": {**_USUAL, "num": 500},
}
KIND = "rows of few-step models"
LEAST = {"students": 10, "methods": 10, "notes": 2}
_NUM = ", ".join(f"{given['num']} of {table}" for table, given in DEFAULTS.items())

_TABLE = flags.DEFINE_enum("table", "students", list(DEFAULTS), "Table to print.")
_WORKDIR = shared.workdir("Folder of the teacher's run; of straightness, of each run.")
_OUT = shared.out("methods: folder of the rows.")
shared.step()
shared.define(
    flags.DEFINE_integer, "seed", None, "First seed of the noise; by default 0 of sounds, else 1.", 0, 2**31 - 1
)
flags.DEFINE_list("students", [], "Folders of runs to compare with the teacher's.")
flags.DEFINE_list("steps", "1,2,4", "Numbers of steps.")
shared.define(flags.DEFINE_integer, "num", None, f"Samples of each; by default {_NUM}.", 1, shared.MOST)
flags.DEFINE_list("solvers", list(teacher.SOLVERS), "Solvers to choose from for the teacher.")
flags.DEFINE_list(
    "grids", None, "Grids to choose from for the teacher: vp_quadratic,uniform; for notes log_snr,uniform."
)
flags.DEFINE_list("methods", list(methods.METHODS), "methods: which of " + ", ".join(methods.METHODS))
flags.DEFINE_float("seconds", 300.0, "methods: CPU seconds of training of each.", lower_bound=0.01)
flags.DEFINE_integer("seeds", None, "Draws of the samples: 3 of methods, 1 of students.", 1, shared.MOST)
flags.DEFINE_bool("teacher", True, "methods: also evaluate the teacher.")
shared.count("updates", 150, "methods: updates of the tuned samplers of the teacher; 0 leaves them out.", 0)
shared.count("tabulated", 5, "notes: evaluations of samplers.few_steps.", 5)
shared.count("many", 25, "notes: steps of the teacher's own sampler.")
flags.DEFINE_list("iterations", "30", "vocoders: numbers of iterations for the phases of a model's magnitudes.")
flags.DEFINE_bool("match", True, "vocoders: whether a model's magnitudes are scaled to the given mel spectrogram.")
shared.count("baseline", 60, "vocoders: iterations of Griffin-Lim without a model.")
shared.count("repeats", 15, "vocoders: turns of the timing.")
flags.DEFINE_integer("shown", None, "notes, vocoders: sounds with audio widgets; by default 6 and 4.", lower_bound=1)


def main(config: Config) -> Path | str | None:
    table = _TABLE.value
    options = with_defaults(DEFAULTS[table])
    shared.step_counts("steps", options.steps, "1,2,4")
    shared.step_counts("iterations", options.iterations, "8,30")
    options.methods = chosen("methods", options.methods, methods.METHODS)
    if options.num < LEAST.get(table, 1):
        raise ConfigError(f"--num={options.num}: must be at least {LEAST.get(table, 1)}")
    if table == "straightness":
        shared.path(_WORKDIR)
        return straightness.run(options)
    if table == "methods":
        return rows.run(config, options, shared.results_folder(_OUT, kind=KIND, continues=True))
    return {"notes": of_notes, "vocoders": of_vocoders, "students": of_students}[table].run(config, options)


def _config() -> ConfigDict:
    return ConfigDict() if _TABLE.value == "straightness" else base.saved(_WORKDIR.value)


if __name__ == "__main__":
    command_line.run(main, _config, lambda config: base.check_fields(config) if len(config) else None)
