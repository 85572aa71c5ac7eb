"""Out-of-distribution detection: scores a data set against others, with every statistic.

    python -m experiments.projects.ood.detect --config=experiments/configs/ood/ood_digits.py --workdir=runs/ood_digits
    python -m experiments.projects.ood.detect --config=… --workdir=… --config.run=runs/digits

fits, trains or loads the model (``config.kind``, ``config.run``), prints a table for each out-of-distribution set and
writes ``ood.html``, ``ood.json`` and pictures into ``workdir``. Half of the held-out in-distribution images calibrate
the scores; the other half is scored. The same command continues a training or scoring that was stopped.
"""

import time
from pathlib import Path

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, choice, load_resolved, require, save_resolved
from experiments.cli.fields import fields_by
from experiments.cli.outputs import write_results
from experiments.configs.ood import ood_digits
from experiments.projects.ood import experiment, report
from experiments.projects.ood.data import NEAR
from experiments.projects.ood.model import MODELS
from experiments.tasks.diffusion import runs
from experiments.training import lock

_CONFIG, _WORKDIR = shared.config("Config file of an out-of-distribution experiment."), shared.new_workdir()
shared.reinterpret_weights()


@fields_by(lambda config: ood_digits.FIELDS)
def check_fields(config: Config) -> None:
    """Validates that a config has the fields of ``ood_digits``, within their bounds."""
    ood_digits.FIELDS.check(config)


def check(config: Config) -> None:
    """Validates a config before anything is loaded."""
    check_fields(config)
    choice("kind", config.kind, MODELS)
    require(config.kind != "flow" or config.run, "run", config.run, "the folder of a flow for config.kind=flow")
    for name in config.near:
        require(name in NEAR, "near", config.near, f"of {', '.join(NEAR)}")
    require(len(config.near) > 0, "near", config.near, "at least one set: a near one is always shown")
    name = config.in_distribution
    require(config.train.data.set == name, "train.data.set", config.train.data.set, name)
    runs.check_score(config.train, "config.train")
    levels, most = config.curvature_levels, len(config.log_snrs)
    require(levels <= most, "curvature_levels", levels, f"from 1 to the {most} of config.log_snrs")


def main(config: Config) -> Path:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    check(config)
    saved = workdir / "config.json"
    if saved.exists() and not load_resolved(saved).keys() <= config.keys():
        raise ConfigError(f"--workdir={workdir}: there is a run of another program, which is kept; use another folder")
    with lock.hold(workdir):
        return detect(config, workdir, start)


def detect(config: Config, workdir: Path, start: float) -> Path:
    """Runs the experiment and writes its results."""
    outcome = experiment.run(config, workdir)
    save_resolved(config, workdir / "config.json")
    for message in outcome.left_out:
        print(f"left out: {message}")
    print(report.as_text(config, outcome))
    print(report.ascent_as_text(outcome.ascent))
    write_results(workdir / "ood.json", {f"{row.dataset}/{row.score}": row.auroc for row in outcome.rows})
    return report.write(workdir, config, outcome, time.monotonic() - start)


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, check_fields)
