"""Evaluates a trained model again, from any checkpoint.

    python -m experiments.evaluate --workdir=runs/digits --config.evaluation.guidance_scales=1,1.5,3
    python -m experiments.evaluate --workdir=runs/digits --step=1000 --config.sampling.solver.name=heun
    python -m experiments.evaluate --workdir=runs/digits --config.guidance=apg,rescale --out=runs/digits/apg

Prints the tables and writes ``evaluation_<step>.json`` and ``evaluation_<step>.html`` into ``workdir``.
"""

import json
import time
from pathlib import Path

from absl import flags

from experiments.cli import command_line, progress
from experiments.evaluation.run_metrics import run_metrics as evaluation
from experiments.reporting import pictures
from experiments.models.runs import open_experiment, saved_config
from experiments.cli.config import Config as ConfigFields
from experiments.cli.config import save_resolved
from experiments.reporting.report import Config, Figure, Heading, write_report
from scorekit.io.files import write_atomic

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_OUT = flags.DEFINE_string("out", None, "Path of the results without ending; workdir/evaluation_<step> by default.")


def main(config: ConfigFields) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    run = open_experiment(config, workdir, _STEP.value, config.evaluation.guidance_scales, latents=True)
    print(f"evaluating step {run.step:,} with {' + '.join(config.guidance)} …", flush=True)
    found = evaluation.evaluate(config, run.model, run.dataset, run.params, run.generate)
    stem = Path(_OUT.value).expanduser().absolute() if _OUT.value else workdir / f"evaluation_{run.step}"
    write_atomic(f"{stem}.json", json.dumps(found.numbers, indent=2) + "\n")
    used = save_resolved(config, f"{stem}.config.json")
    sections = [
        *found.tables,
        Heading("Loss by noise level"),
        Figure(pictures.loss_picture(Path(f"{stem}.png"), found)),
        Config(used.read_text()),
    ]
    guided = " + ".join(config.guidance)
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "guidance": guided}
    report = write_report(f"{stem}.html", f"scorekit: {run.dataset.name}, evaluation", facts, sections)
    print(evaluation.as_text(found))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: saved_config(_WORKDIR.value))
