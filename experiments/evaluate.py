"""Evaluates a trained model again, from any checkpoint.

    python -m experiments.evaluate --workdir=runs/digits --config.evaluation.guidance_scales=1,1.5,3
    python -m experiments.evaluate --workdir=runs/digits --step=1000 --config.sampling.solver.name=heun
    python -m experiments.evaluate --workdir=runs/digits --config.guidance=apg,rescale --out=runs/digits/apg
    python -m experiments.evaluate --workdir=runs/digits --bits_per_dim
    python -m experiments.evaluate --workdir=runs/digits --config.sampling.ema=power_0.07 --ema_sweep=0.03,0.05,0.1,0.15
    python -m experiments.evaluate --workdir=runs/cifar10 --config.evaluation.guidance_scales=1 \\
        --config.evaluation.fid.weights=inception.safetensors --config.evaluation.fid.reference=cifar10-32x32.npz \\
        --config.evaluation.fid.repeats=3

Prints the tables and writes ``evaluation_<step>.json`` and ``evaluation_<step>.html`` into ``workdir``. The same
command continues where it was killed: samples, and the features of the samples for the FID, are kept by batch in
``workdir/samples/partial`` until the report is written. ``--bits_per_dim`` adds the exact likelihood to the variational
bound; docs/evaluation.md says which FID it is.

``--ema_sweep`` evaluates averages of these relative widths as well, of a run with ``training.power_ema``: a table and a
picture, ``evaluation_<step>_ema.png``.
"""

from pathlib import Path

from absl import flags

from experiments import tasks
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, save_resolved
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
_SWEEP = flags.DEFINE_list("ema_sweep", None, "Relative widths of averages to evaluate as well, as in 0.05,0.1.")


def main(config: Config) -> Path:
    task, workdir = tasks.of(config), shared.path(_WORKDIR, buckets=True)
    drawn_by = task.drawn_by(config)
    endings = ".json", ".html", ".png", ".config.json", "_ema.png"
    out = shared.results(_OUT, workdir / "evaluation", *endings)
    widths = [] if _SWEEP.value is None else shared.increasing("ema_sweep", _SWEEP.value)
    if _SWEEP.value is not None and not (widths and widths[-1] < 12**-0.5):
        given = f"--ema_sweep={','.join(_SWEEP.value)}"
        raise ConfigError(f"{given}: must be relative widths below 12^-1/2, as in 0.05,0.1")
    run = task.open_run(config, workdir, _STEP.value, None)
    print(f"evaluating step {run.step:,}{f' with {drawn_by}' if drawn_by else ''} …", flush=True)
    beside = shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples"
    partial, stem = PartialSamples(beside / "partial"), out if _OUT.value else as_path(f"{out}_{run.step}")
    found = task.evaluate(config, run, workdir, Asked(partial, str(stem), _BITS.value, widths))
    write_results(f"{stem}.json", found.values)
    used = save_resolved(config, f"{stem}.config.json")
    report = write_evaluation_report(str(stem), run.dataset, run.step, found, used.read_text())
    partial.remove()
    print(tables_as_text(found.tables))
    return report


if __name__ == "__main__":
    command_line.run(main, lambda: tasks.saved(_WORKDIR.value), tasks.check_fields)
