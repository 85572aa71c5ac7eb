"""Trains, samples and evaluates a model; the same command continues a run that was stopped.

    python -m experiments.train --config=experiments/configs/images/digits.py --workdir=runs/digits
    python -m experiments.train --config=… --workdir=… --config.training.steps=5000 --config.loss.target.name=eps
    python -m experiments.train --config=experiments/configs/sequences/digits_pixels.py --workdir=runs/pixels

The folder ``workdir`` then holds ``report.html``, ``config.json``, ``metrics.jsonl``, TensorBoard events, pictures and
``checkpoints/``.
"""

import time
from pathlib import Path

import jax

from experiments import data, evaluation, training
from experiments.cli import command_line, distributed, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base, kinds
from experiments.evaluation.run_metrics import evaluate
from experiments.models import checks, latents
from experiments.models.devices import everywhere
from experiments.models.model import at_params, build_model, init_params
from experiments.models.partial import PartialSamples
from experiments.models.restoring import averaged
from experiments.models.runs import write_results
from experiments.models.sampling import make_sampler
from experiments.models.sizes import COPIES, param_shapes
from experiments.reporting import pictures
from experiments.reporting.run_report import write_run_report
from experiments.reporting.tables import as_text
from experiments.sequences import runs as sequence_runs
from experiments.training import lock, loop, profiling
from experiments.training.model_run import fit_model

_CONFIG, _WORKDIR = shared.config(), shared.new_workdir()
shared.distributed()
profiling.define_flag()


def check(config: Config) -> None:
    """Validates a config before anything is loaded or compiled."""
    if kinds.is_sequence(config):
        sequence_runs.check(config)
        profiling.wanted()
        return
    base.check_fields(config)
    data.check(config)
    checks.check(config)
    checks.check_trainable(config)
    profiling.wanted()
    training.check(config)
    evaluation.check(config)
    training.check_devices(config)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR, buckets=True)
    check(config)
    loop.check_same_run(config, workdir)
    with lock.hold(workdir):
        train(config, workdir, start)


def train(config: Config, workdir: Path, start: float) -> None:
    """Trains to the last step, then samples and evaluates."""
    if kinds.is_sequence(config):
        done = sequence_runs.train(config, workdir, start)
        if done is not None:
            print(done.text)
            print(progress.final_line(str(done.report), time.monotonic() - start))
        return
    dataset = latents.load_data(config)
    model = build_model(config, dataset)
    param_shapes(config, "network", lambda: init_params(model, jax.random.key(0)), copies=COPIES)
    generate = make_sampler(config, model, dataset)

    def draw(path, params, step):
        return pictures.sample_picture(path, config, dataset, generate, params, f"Samples after {step:,} steps")

    state = fit_model(config, workdir, dataset, model, draw)
    trained = time.monotonic() - start
    print("sampling and evaluating …", flush=True)
    params = everywhere(averaged(state, config.sampling.ema))
    model = at_params(model, params)
    drawn = pictures.final_pictures(distributed.folder(workdir), config, model, dataset, generate, params)
    partial = PartialSamples(workdir / "samples" / "partial")
    found = evaluate(config, model, dataset, params, generate, partial)
    if not distributed.is_first():
        return
    write_results(workdir / "evaluation.json", found.values())
    facts = {
        "network": f"{progress.human(sum(x.size for x in jax.tree.leaves(params)))} parameters",
        "steps": config.training.steps,
        "training time": progress.duration(trained),
    }
    report = write_run_report(workdir, dataset, found, drawn, facts)
    partial.remove()
    print(as_text(found))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, kinds.check_fields)
