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
command continues where it was killed: samples, and features of those of the FID, are kept by batch in
``workdir/samples/partial`` until the report is written. ``--bits_per_dim`` adds the exact likelihood to the variational
bound; docs/evaluation.md says which FID it is.

``--ema_sweep`` evaluates averages of these relative widths as well, of a run with ``training.power_ema``: a table and a
picture, ``evaluation_<step>_ema.png``.
"""

import time

from absl import flags

from experiments import evaluation
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, save_resolved
from experiments.configs import kinds
from experiments.evaluation import sequence_metrics
from experiments.evaluation.ema_sweep import ema_sweep
from experiments.evaluation.run_metrics import evaluate
from experiments.models.partial import PartialSamples
from experiments.models.runs import facts, open_run, write_results
from experiments.reporting.pictures import ema_sweep_picture, loss_picture
from experiments.reporting.report import ConfigSection, Figure, Heading, tables_as_text, write_report
from experiments.reporting.tables import as_text, ema_sweep_table, evaluation_tables
from experiments.sequences import runs as sequence_runs
from experiments.sequences.report import tables as sequence_tables
from scorekit.io import as_path

_WORKDIR, _STEP = shared.workdir(), shared.step()
shared.distributed()
_OUT = shared.out("Path of the results without ending; workdir/evaluation_<step> by default.")
_BITS = flags.DEFINE_bool("bits_per_dim", False, "Find the exact likelihood as well as the variational bound.")
_SWEEP = flags.DEFINE_list("ema_sweep", None, "Relative widths of averages to evaluate as well, as in 0.05,0.1.")


def main(config: Config) -> None:
    start = time.monotonic()
    if kinds.is_sequence(config):
        evaluate_sequences(config, start)
        return
    evaluation.check(config)
    workdir, guided = shared.path(_WORKDIR, buckets=True), " + ".join(config.guidance)
    out = shared.results(_OUT, workdir / "evaluation", ".json", ".html", ".png", ".config.json", "_ema.png")
    widths = [] if _SWEEP.value is None else shared.relative_widths("ema_sweep", _SWEEP.value)
    run = open_run(config, workdir, _STEP.value, config.evaluation.guidance_scales, on_latents=True, any_coupling=True)
    print(f"evaluating step {run.step:,} with {guided} …", flush=True)
    beside = shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples"
    partial = PartialSamples(beside / "partial")
    sweep = ema_sweep(config, run, workdir, widths, partial) if widths else None
    found = evaluate(config, run.model, run.dataset, run.params, run.generate, partial, _BITS.value)
    stem = out if _OUT.value else as_path(f"{out}_{run.step}")
    write_results(f"{stem}.json", found.values() | (sweep.values() if sweep else {}))
    used = save_resolved(config, f"{stem}.config.json")
    swept = [ema_sweep_table(sweep, found.caption)] if sweep else []
    picture = [Figure(ema_sweep_picture(as_path(f"{stem}_ema.png"), sweep))] if sweep else []
    sections = [
        *evaluation_tables(found),
        *swept,
        *picture,
        Heading("Loss by noise level"),
        Figure(loss_picture(as_path(f"{stem}.png"), found)),
        ConfigSection(used.read_text()),
    ]
    title = f"scorekit: {run.dataset.name}, evaluation"
    report = write_report(f"{stem}.html", title, {**facts(run), "guidance": guided}, sections)
    partial.remove()
    print(as_text(found), *[tables_as_text(swept)] if swept else [], sep="\n")
    print(progress.final_line(str(report), time.monotonic() - start))


def evaluate_sequences(config: Config, start: float) -> None:
    """The same of a model of sequences."""
    for flag in (_BITS, _SWEEP):
        if flag.value:
            raise ConfigError(f"--{flag.name}: not of a model of sequences, whose bits per symbol are always evaluated")
    sequence_metrics.check(config)
    workdir = shared.path(_WORKDIR, buckets=True)
    out = shared.results(_OUT, workdir / "evaluation", ".json", ".html", ".config.json")
    run = sequence_runs.open_run(config, workdir, _STEP.value)
    print(f"evaluating step {run.step:,} …", flush=True)
    partial = PartialSamples(
        (shared.path(_OUT, buckets=True).parent if _OUT.value else workdir / "samples") / "partial"
    )
    found = sequence_runs.evaluate(config, run, partial)
    stem = out if _OUT.value else as_path(f"{out}_{run.step}")
    write_results(f"{stem}.json", found.values())
    used = save_resolved(config, f"{stem}.config.json")
    sections = [*sequence_tables(found), ConfigSection(used.read_text())]
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "model": config.model}
    report = write_report(f"{stem}.html", f"scorekit: {run.dataset.name}, evaluation", facts, sections)
    partial.remove()
    print(tables_as_text(sequence_tables(found)))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: kinds.saved(_WORKDIR.value), kinds.check_fields)
