"""Samples of few steps: models that are made for them, and other models with the best of their usual solvers.

    python -m experiments.benchmarks.few_steps --workdir=runs/digits --students=runs/digits_fast,runs/a/rounds/4
    python -m experiments.benchmarks.few_steps --table=methods --workdir=runs/digits --out=runs/few_steps --seconds=350

``students``: students of ``config.task=student`` alongside their teacher (:mod:`.of_students`). ``methods``: every loss
and student, trained for ``--seconds`` of CPU time without compilation, with AdamW in batches of 64 (drifting: 256)
whatever ``config.training`` says, from the parameters of the teacher or, ``data_…``, from random ones
(``data_consistency_tuning`` from the teacher's). The teacher is guided as in its config, and so are its students.
Models trained from data, as ``drifting`` is too, are not guided, except for ``…any_scale``, which have γ as a
condition. *±* is the standard error over ``--seeds`` draws.
"""

from pathlib import Path

from absl import flags

from experiments.benchmarks.few_steps import methods, of_students, rows, teacher
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.flags import chosen
from experiments.configs import base

_TABLE = flags.DEFINE_enum("table", "students", ["students", "methods"], "Table to print.")
_WORKDIR = shared.workdir("Folder of the teacher's run.")
_OUT = shared.out("methods: folder of the rows, a file for each method.")
shared.step()
shared.define(flags.DEFINE_integer, "seed", 1, "First seed of the noise.", 0, 2**31 - 1)
flags.DEFINE_list("students", [], "Folders of runs to compare with the teacher's.")
flags.DEFINE_list("steps", "1,2,4", "Numbers of steps.")
shared.define(flags.DEFINE_integer, "num", 1500, "Samples of each.", 10, shared.MOST)
flags.DEFINE_list("solvers", list(teacher.SOLVERS), "Solvers to choose from for the teacher.")
flags.DEFINE_list("grids", list(teacher.GRIDS), "Grids to choose from for the teacher.")
flags.DEFINE_list("methods", list(methods.METHODS), "methods: which of " + ", ".join(methods.METHODS))
flags.DEFINE_float("seconds", 300.0, "methods: CPU seconds of training of each.", lower_bound=0.01)
flags.DEFINE_integer("seeds", 1, "Draws of the samples.", 1, shared.MOST)
flags.DEFINE_bool("teacher", True, "methods: also evaluate the teacher.")
shared.count("updates", 150, "methods: updates of the tuned samplers of the teacher; 0 leaves them out.", 0)


def main(config: Config) -> Path | str | None:
    options = flags.FLAGS
    shared.step_counts("steps", options.steps, "1,2,4")
    options.methods = chosen("methods", options.methods, methods.METHODS)
    if _TABLE.value == "students":
        return of_students.run(config, options)
    return rows.run(config, options, shared.results_folder(_OUT))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
