"""Trains a transcriber, from sound to notes, on rendered phrases, and measures it on held-out ones.

    python -m experiments.music.train_transcriber --config=experiments/configs/music/transcriber.py \
        --workdir=runs/transcriber

At the end it chooses the threshold of onsets on training phrases, unless ``--config.evaluation.onset_threshold=…`` is
given. The same command continues a run that was stopped, and of a finished one chooses and measures again. ``workdir``
then holds ``report.html`` with audio widgets and piano rolls, ``config.json``, ``evaluation.json``,
``transcriber.json`` with the threshold, metrics and ``checkpoints/``.
"""

import time
from pathlib import Path

import jax

from experiments import data, training
from experiments.cli import command_line, distributed, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base_transcriber
from experiments.data.dataset import rows_of
from experiments.data.phrases import Phrases
from experiments.models import transcriber
from experiments.models.devices import everywhere
from experiments.models.loss import held_out_loss
from experiments.models.restoring import averaged
from experiments.models.runs import write_results
from experiments.music import reports, thresholds, transcription
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Heading, Section, tables_as_text, write_report
from experiments.training import lock, loop

_CONFIG, _WORKDIR = shared.config("Config file of a transcriber."), shared.new_workdir()
_NUM = shared.count("num", 100, "Number of held-out phrases, and of training phrases for the threshold.", 2)
_SHOWN = shared.count("shown", 4, "Number of phrases with audio widgets.")
_NOISE_DB = 20.0
shared.distributed()


def check(config: Config, workdir: Path) -> None:
    """Validates a config before anything is loaded or compiled."""
    base_transcriber.check_fields(config)
    data.check(config)
    transcriber.check(config)
    training.check(config)
    training.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, dataset: Phrases) -> transcription.Trained:
    """Trains to the last step."""
    built = transcriber.build_transcriber(config, dataset.sample_rate)
    prepare, loss = transcriber.make_prepare(built, config), transcriber.make_loss(built, config)
    state = loop.fit(
        config,
        workdir,
        dataset,
        params=transcriber.init_params(built, jax.random.key(config.seed)),
        prepare=prepare,
        loss=loss,
        ema=config.evaluation.ema,
        held_out=held_out_loss(prepare, loss, dataset, dataset.max_reconstructed),
    )
    return transcription.trained(built, everywhere(averaged(state, config.evaluation.ema)), config)


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    check(config, workdir)
    with lock.hold(workdir):
        train_and_report(config, workdir, start)


def train_and_report(config: Config, workdir: Path, start: float) -> None:
    """Trains the transcriber, measures it and writes the report."""
    dataset = data.load(config)
    assert isinstance(dataset, Phrases)
    kept = {"sample_rate": dataset.sample_rate}
    if distributed.is_first():
        write_results(workdir / transcription.FILE, kept)
    found, cpu = train(config, workdir, dataset), time.process_time()
    if not distributed.is_first():
        return
    print("measuring …", flush=True)
    chosen: list[Section] = []
    if found.onset_threshold is None:
        found, by_threshold = thresholds.choose(found, rows_of(dataset.train, slice(_NUM.value)))
        chosen = [Heading("Threshold of onsets"), by_threshold]
    write_results(workdir / transcription.FILE, {**kept, "onset_threshold": found.onset_threshold})
    test = rows_of(dataset.test, slice(_NUM.value))
    parts = {
        "held-out phrases": transcription.measure(found, test),
        f"with noise {_NOISE_DB:g} dB below": transcription.measure(found, test, noise=_NOISE_DB),
    }
    table = reports.metrics_table(parts)
    write_results(workdir / "evaluation.json", reports.metrics_as_json(parts))
    widgets = reports.widgets(workdir / "phrases", dataset, next(iter(parts.values())), _SHOWN.value)
    sections: list[Section] = [table, Heading("Transcriptions"), widgets, *chosen, *training_sections(workdir)]
    sections.append(ConfigSection((workdir / "config.json").read_text()))
    facts = {"data": dataset.name, "steps": config.training.steps, "threshold of onsets": found.onset_threshold}
    facts["CPU time of the last process"] = progress.duration(cpu)
    report = write_report(workdir / "report.html", f"scorekit: {dataset.name}, transcriber", facts, sections)
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, base_transcriber.check_fields)
