"""Models of 1, 2 and 4 steps at equal training time: every flow map and student, and the teacher's best samplers.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.benchmarks.few_step_models --workdir=runs/digits --out=runs/few_steps --seconds=350
    python -m experiments.benchmarks.few_step_models --workdir=runs/ring --out=runs/few_ring --seconds=60 \
        --methods=lagrangian,progressive

For images and points. Every method trains for ``--seconds`` of CPU time, without compilation, with AdamW in batches of
64 whatever ``config.training`` says, from the parameters of the teacher or, ``data_…``, from random ones
(``data_consistency_tuning`` from the teacher's). The teacher is guided as its config says, and so are its students;
what is trained from data is not, but for ``…any_scale``, which have γ as a condition. The rows of each method are kept
in ``--out`` as JSON: the same command goes on where it was stopped, and rows of other flags or config fields are an
error.
*calls*: network evaluations per sample, a guided pair counting 2. *±*: the standard error over ``--seeds`` draws.
"""

import functools
import time

from absl import flags

from experiments.benchmarks.few_step_models import methods, rows
from experiments.benchmarks.few_step_models.teacher import Tuning
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.evaluation.kept_rows import overridden
from experiments.models.runs import open_run
from experiments.reporting.report import tables_as_text

_WORKDIR = shared.workdir("Folder of the teacher's run.")
_OUT = shared.out("Folder of the rows.", required=True)
_METHODS = flags.DEFINE_list("methods", list(methods.METHODS), "Which of " + ", ".join(methods.METHODS))
_SECONDS = flags.DEFINE_float("seconds", 300.0, "CPU seconds of training of each method.", lower_bound=0.01)
_STEPS = flags.DEFINE_list("steps", ["1", "2", "4"], "Numbers of steps.")
_NUM = shared.count("num", 1500, "Samples of each.", 10)
_SEEDS = shared.count("seeds", 3, "Draws of the samples.")
_TEACHER = flags.DEFINE_bool("teacher", True, "Also evaluate the teacher.")
_UPDATES = shared.count("updates", 150, "Updates of the tuned samplers of the teacher; 0 leaves them out.", 0)


def main(config: Config) -> None:
    start = time.monotonic()
    steps = shared.step_counts("steps", _STEPS.value, "1,2,4")
    scale = config.sampling.guidance_scale
    for name in _METHODS.value:
        if name not in methods.METHODS:
            raise ConfigError(f"--methods={name}: must be some of {', '.join(methods.METHODS)}")
    folder = shared.results_folder(_OUT, kind="rows of few-step models", continues=True)
    run = open_run(config, shared.path(_WORKDIR), None, (scale,))
    scorer = run.dataset.scorer()
    if scorer is None:
        raise ConfigError(f"--workdir={_WORKDIR.value}: its data must be images or points, they are {run.dataset.name}")
    score = functools.partial(_score, run, scorer)
    setting = methods.Setting(config, run, _SECONDS.value, steps)
    facts = {
        "workdir": str(shared.path(_WORKDIR)), "step": run.step, "scale": scale, "num": _NUM.value,
        "seeds": _SEEDS.value, "steps": steps, "config": overridden(config, base.saved(_WORKDIR.value)),
    }  # fmt: skip
    found = []
    if _TEACHER.value:
        tuning = Tuning(_UPDATES.value)
        tuned = {**facts, "updates": _UPDATES.value}
        found += rows.kept(folder, "teacher", tuned, lambda: rows.of_teacher(setting, folder, tuning, score))
    for name in _METHODS.value:
        print(f"{name} …", flush=True)
        trained = {**facts, "seconds": _SECONDS.value}
        found += rows.kept(folder, name, trained, lambda name=name: rows.of_method(name, setting, score))
    print(tables_as_text([rows.table(found, scorer.caption)]))
    print(progress.final_line(str(folder), time.monotonic() - start))


def _score(run, scorer, config, model, params):
    return rows.measured(config, model, run, params, scorer, _NUM.value, range(1, 1 + _SEEDS.value))


if __name__ == "__main__":
    command_line.run(main, lambda: base.saved(_WORKDIR.value), base.check_fields)
