"""Translation of notes between families of instruments: one encoder, a decoder for each family, a confused classifier.

The folder of the run then also holds held-out notes, their reconstructions and their translations as sounds.
"""

import functools

import numpy as np

from experiments import data
from experiments.cli import distributed
from experiments.data.dataset import Batch, evenly, rows_of
from experiments.models.samples import check_samples
from experiments.projects.audio import note_evaluators
from experiments.projects.audio.translation import translation
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.report import Heading
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import metrics_table
from experiments.tasks import task
from experiments.training import build_optimizer, loop
from experiments.training.loop import Trainable, held_out_loss
from scorekit.io import as_path
from scorekit.networks import TranslationNetwork

FIELDS = task.fields("translation", data.KINDS, **translation.FIELDS)
OPENED_BY = "is a translation of notes; evaluate takes it"
FAMILY, FURTHER = 8, 3
"""Instruments of a family of General MIDI, and families from a note's own to the one that it is translated to."""
load, resolve, train = data.build, task.unchanged, loop.train
drawn_by = task.draws_nothing
fields = lambda config=None: FIELDS


def build(config, dataset):
    translation.check(config, dataset)
    model = TranslationNetwork(dataset.num_classes, dataset.shape[-1], **config.translation)
    prepare = translation.make_prepare(model, dataset)
    loss = translation.make_loss(model, config.loss.confusion, config.loss.noise)
    init, held_out = functools.partial(translation.init_params, model, dataset), held_out_loss(prepare, loss, dataset)
    trained = Trainable(init, prepare, loss, build_optimizer(config.training), held_out, config.evaluation.ema)
    return task.Setup(config, model, "translation", trained)


open_run = functools.partial(task.open_run, load, build)


def compare(
    evaluators: note_evaluators.NoteEvaluators,
    sounds: dict[str, np.ndarray],
    batch: Batch,
    targets: np.ndarray,
    rate: int,
) -> tuple[dict[str, dict[str, float | None]], str]:
    """Metrics by the name of the sounds, and a caption: whether the pitch is kept, of notes with a clear pitch on both
    sides, and the predicted family."""
    clear = np.isin(batch["instrument"], evaluators.clear) & np.isin(targets, evaluators.clear)
    rows = {}
    for name, x in sounds.items():
        family = evaluators.family.predict(note_evaluators.family_features(x, rate))
        pitch = note_evaluators.right_pitch(note_evaluators.track_pitch(x[clear], rate), batch["pitch"][clear])
        rows[name] = {
            "pitch kept": float(np.mean(pitch)) if len(pitch) else None,
            "own family predicted": float(np.mean(family == batch["instrument"] // FAMILY)),
            "target family predicted": float(np.mean(family == targets // FAMILY)),
        }
    of_clear = f"pitch of the {int(clear.sum())} whose instruments, own and target, have a clear pitch"
    return rows, f"{len(targets)} notes; {of_clear}"


def evaluate(config, run, workdir, asked: task.Asked):
    dataset, options = run.dataset, config.evaluation
    batch = rows_of(dataset.test, evenly(len(dataset.test["x"]), options.num_samples))
    targets = ((batch["instrument"] + FURTHER * FAMILY) % (dataset.num_classes * FAMILY)).astype(np.int32)
    z = translation.encode(run, batch["x"])
    sounds = {"held out": dataset.real(batch)}
    for name, family in {"reconstruction": batch["label"], "translation": targets // FAMILY}.items():
        sounds[name] = translation.decode(run, z, family)
        check_samples(sounds[name], f"the run in {workdir}", name)
    phased = "translation, phase of the note"
    sounds[phased] = translation.with_phase_of(sounds["held out"], sounds["translation"])
    train, rate = dataset.train, dataset.sample_rate
    labels = {name: train[name] for name in ("instrument", "family", "pitch")}
    evaluators = note_evaluators.fit_note_evaluators(dataset.real(train), labels, rate)
    table = metrics_table(*compare(evaluators, sounds, batch, targets, rate))
    shown = evenly(len(targets), options.shown)
    own, other = dataset.named(batch["label"]), dataset.named(targets // FAMILY)
    folder = as_path(asked.figures(distributed.folder(workdir), "translations"))
    widgets = audio_widgets(
        folder,
        {name: x[shown] for name, x in sounds.items()},
        rate,
        row_labels=[f"{own[i]} as {other[i]}, pitch {batch['pitch'][i]}" for i in shown],
        caption="Held-out notes, decoded by the decoder of their own family and of another one.",
    )
    return Findings(
        {"translation": table.records()},
        [table],
        {},
        pictures=[Heading("Translations"), widgets],
        heading="Pitch and family",
        title="translation",
    )
