"""Evaluates a trained model again, from any checkpoint.

    python -m experiments.evaluate --workdir=runs/digits --config.evaluation.guidance_scales=1,1.5,3
    python -m experiments.evaluate --workdir=runs/digits --step=1000 --config.sampling.solver.name=heun
    python -m experiments.evaluate --workdir=runs/digits --config.guidance=apg,rescale --out=runs/digits/apg
    python -m experiments.evaluate --workdir=runs/digits --bits_per_dim
    python -m experiments.evaluate --workdir=runs/digits --config.sampling.ema=power_0.07 --out=runs/digits/ema_0.07
    python -m experiments.evaluate --workdir=runs/cifar10 --config.evaluation.guidance_scales=1 \\
        --config.evaluation.fid.weights=inception.safetensors --config.evaluation.fid.reference=cifar10-32x32.npz \\
        --config.evaluation.fid.repeats=3

Prints the tables and writes ``evaluation_<step>.json`` and ``evaluation_<step>.html`` into ``workdir``. The same
command continues where it was killed: samples, and the features of the samples for the FID, are kept by batch in
``workdir/samples/partial`` until the report is written. ``--bits_per_dim`` adds the exact likelihood to the variational
bound; docs/evaluation.md says which FID it is.
"""

from pathlib import Path

from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, save_resolved
from experiments.cli.outputs import write_results
from experiments.models.samples import PartialSamples
from experiments.reporting.run_report import write_evaluation_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks import Asked
from scorekit.io import as_path

_WORKDIR, _STEP = shared.workdir(), shared.step()
shared.distributed()
_OUT = shared.out("Path of the results without ending; workdir/evaluation_<step> by default.")
_BITS = flags.DEFINE_bool("bits_per_dim", False, "Find the exact likelihood as well as the variational bound.")


def main(config: Config) -> Path:
    task, workdir = tasks.of(config), shared.path(_WORKDIR, buckets=True)
    drawn_by = task.drawn_by(config)
    endings = ".json", ".html", ".png", ".config.json"
    out = shared.results(_OUT, workdir / "evaluation", *endings)
    run = task.open_run(config, workdir, _STEP.value, None)
    print(f"evaluating step {run.step:,}{f' with {drawn_by}' if drawn_by else ''} …", flush=True)
    beside = shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples"
    partial, stem = PartialSamples(beside / "partial"), out if _OUT.value else as_path(f"{out}_{run.step}")
    found = task.evaluate(config, run, workdir, Asked(partial, str(stem), _BITS.value))
    write_results(f"{stem}.json", found.values)
    used = save_resolved(config, f"{stem}.config.json")
    report = write_evaluation_report(str(stem), run.dataset, run.step, found, used.read_text())
    partial.remove()
    print(tables_as_text(found.tables))
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
