"""A transcriber, from sound to notes, of rendered phrases.

At the end it chooses the threshold of onsets on training phrases, unless ``config.evaluation.onset_threshold`` is
given. The folder of the run then also holds audio widgets and piano rolls, and ``transcriber.json`` with the threshold.
"""

import functools
import time

from experiments import data
from experiments.cli import distributed, progress
from experiments.cli.outputs import write_results
from experiments.data.dataset import evenly, rows_of
from experiments.data.sound_sets import Phrases
from experiments.projects.audio.transcription import note_metrics, transcriber, transcription
from experiments.projects.audio.transcription.report import transcription_table, transcription_widgets
from experiments.reporting.report import Heading
from experiments.reporting.run_report import Findings
from experiments.tasks import task
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss
from scorekit.io import as_path

FIELDS = task.fields(
    "transcriber",
    data.KINDS,
    seed="Of the parameters, the batches and the augmentation of training.",
    **transcriber.FIELDS,
)
OPENED_BY = "is a transcriber; experiments.projects.audio.music.transcribe takes it"
_NOISE_DB = 20.0
load, resolve = data.build, task.unchanged
drawn_by = task.draws_nothing
fields = lambda config=None: FIELDS


def build(config, dataset):
    transcriber.check(config, dataset)
    assert isinstance(dataset, Phrases)
    model = transcriber.build_transcriber(config, dataset.sample_rate)
    prepare, loss = transcriber.make_prepare(model), transcriber.make_loss(model)
    init = functools.partial(transcriber.init_params, model)
    held_out = held_out_loss(prepare, loss, dataset, dataset.max_reconstructed)
    trained = Trainable(init, prepare, loss, build_optimizer(config.training), held_out, config.evaluation.ema)
    return task.Setup(config, model, "transcriber", trained)


def train(config, dataset, setup, workdir):
    note_metrics.mir_eval()  # without it the evaluation would fail after the training
    if distributed.is_first():
        write_results(workdir / transcription.FILE, {"sample_rate": dataset.sample_rate})
    return loop.train(config, dataset, setup, workdir)


open_run = functools.partial(task.open_run, load, build)


def evaluate(config, run, workdir, asked: task.Asked):
    cpu, num = time.process_time(), config.evaluation.num_samples
    trained = transcription.trained(run.model, run.params, config.evaluation.onset_threshold)
    if trained.onset_threshold is None:
        trained = transcription.choose_threshold(trained, rows_of(run.dataset.train, slice(num)))
    if asked.stem is None and distributed.is_first():
        kept = {"sample_rate": run.dataset.sample_rate, "onset_threshold": trained.onset_threshold}
        write_results(workdir / transcription.FILE, kept)
    test = rows_of(run.dataset.test, slice(num))
    parts = {
        "held-out phrases": transcription.measure(trained, test),
        f"with noise {_NOISE_DB:g} dB below": transcription.measure(trained, test, noise=_NOISE_DB),
    }
    folder = as_path(asked.figures(distributed.folder(workdir), "phrases"))
    shown, sounds = evenly(len(test["x"]), config.evaluation.shown), {"sound": run.dataset.real(test)}
    transcribed = {"sound": parts["held-out phrases"]}
    widgets = transcription_widgets(folder, sounds, transcribed, run.dataset.sample_rate, shown)
    table, values = transcription_table(parts)
    return Findings(
        values,
        [table],
        {"threshold of onsets": trained.onset_threshold, "CPU time of the last process": progress.duration(cpu)},
        further=[Heading("Transcriptions"), widgets],
        title="transcriber",
    )
