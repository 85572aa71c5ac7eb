"""Timbre transfer: held-out notes of one instrument as another would play them, by the flow of one model.

    python -m experiments.audio.timbre --workdir=runs/notes
    python -m experiments.audio.timbre --workdir=runs/notes --to=73 --num=48 --config.sampling.steps=50

A note is encoded to noise by the probability-flow ODE with its own conditions, and decoded with the same pitch and
velocity but another instrument, by the solver and the grid of ``--config.sampling``. Judges that never saw the model
(:mod:`experiments.evaluation.run_metrics.note_evaluators`) say which family they hear, and Praat whether the pitch was kept. Decoding as itself
shows what the way there and back loses. Prints a table, and writes ``timbre.html`` with players and ``timbre.json``
into ``workdir/timbre``.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.models import choices as build, model
from experiments.cli import command_line, progress
from experiments.evaluation.run_metrics import note_evaluators as note_judges
from experiments.reporting import audio_widgets as players
from experiments.models.runs import Experiment, config_path, open_experiment
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Batch, as_seen, evenly, kind_of
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio, samplers
from scorekit.io.files import write_atomic

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train with a config of notes.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_TO = flags.DEFINE_integer("to", None, "The instrument wanted; by default one three families on.")
_NUM = flags.DEFINE_integer("num", 48, "Number of held-out notes, evenly from the test set.", lower_bound=1)
_SHOWN = flags.DEFINE_integer("shown", 6, "Number of notes to listen to.", lower_bound=1)

FAMILY = 8
"""Instruments of a family of General MIDI."""


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    if kind_of(config.data.name) != "notes" or config.data.label not in (None, "instrument"):
        raise ConfigError(f"--workdir={workdir}: must hold a model of notes that is told their instrument")
    run = open_experiment(config, workdir, _STEP.value)
    if _TO.value is not None and not 0 <= _TO.value < run.dataset.num_classes:
        raise ConfigError(f"--to={_TO.value}: must be an instrument from 0 to {run.dataset.num_classes - 1}")
    test, rate = run.dataset.test, run.dataset.sample_rate
    assert rate is not None
    rows = evenly(len(test["x"]), _NUM.value)
    batch = {name: value[rows] for name, value in test.items()}
    wanted = (batch["label"] + 3 * FAMILY) % (run.dataset.num_classes // FAMILY * FAMILY)
    wanted = np.full_like(wanted, _TO.value) if _TO.value is not None else wanted.astype(np.int32)
    print(f"{len(rows)} held-out notes with step {run.step:,}; fitting the judges …", flush=True)
    train = run.dataset.train
    families = {"instrument": train["label"], "family": train["label"] // FAMILY, "pitch": train["pitch"]}
    judges = note_judges.fit_judges(run.dataset.real(train), families, rate)
    sounds = transfer(config, run, batch, wanted)
    table = compare(judges, sounds, batch, wanted, rate)
    out = workdir / "timbre"
    write_atomic(out / "timbre.json", json.dumps(table.records(), indent=2) + "\n")
    shown = evenly(len(rows), _SHOWN.value)
    labels = [f"{batch['label'][i]} as {wanted[i]}, pitch {batch['pitch'][i]}" for i in shown]
    heard = players.players(out, {name: x[shown] for name, x in sounds.items()}, rate, row_labels=labels)
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "steps": config.sampling.steps}
    write_report(out / "timbre.html", "scorekit: timbre transfer", facts, [table, Heading("Sounds"), heard])
    print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(out / "timbre.html"), time.monotonic() - start))


def transfer(config: Config, run: Experiment, batch: Batch, wanted: np.ndarray) -> dict[str, np.ndarray]:
    """The notes themselves, decoded as themselves, decoded as ``wanted``, and notes drawn as wanted from new noise."""
    solver, ts = build.build_sampler(config, run.model.schedule)
    if solver.stochastic:
        raise ConfigError(f"config.sampling.solver.name={config.sampling.solver.name}: must be deterministic, as heun")
    seen = as_seen(run.dataset, batch)
    own = model.conditions(run.model, seen)
    other = {**own, "labels": jnp.asarray(wanted)}
    one, two = (model.denoiser(run.model, run.params, given) for given in (own, other))
    x, schedule = jnp.asarray(seen["x"]), run.model.schedule
    walk = jax.jit(lambda denoiser, x: samplers.sample(None, denoiser, schedule, solver, x, ts))
    with progress.Progress(4, batch_size=len(x), label="timbre") as shown:
        noise = jax.jit(lambda denoiser, x: samplers.invert(denoiser, schedule, solver, x, ts))(one, x)
        shown.update(1)
        found = {"back": walk(one, noise)}
        shown.update(2)
        found["transferred"] = walk(two, noise)
        shown.update(3)
        found["drawn anew"] = walk(two, jax.random.normal(jax.random.key(0), x.shape) * schedule.sigma(ts[0]))
        shown.update(4)
    sounds = {name: np.asarray(run.dataset.from_model(x)) for name, x in found.items()}
    return {"held out": run.dataset.real(batch), **sounds}


def compare(
    judges: note_judges.Judges, sounds: dict[str, np.ndarray], batch: Batch, wanted: np.ndarray, rate: int
) -> Table:
    """Pitch kept and family heard, of the notes of instruments whose pitch is clear on both sides."""
    clear = np.isin(batch["label"], judges.clear) & np.isin(wanted, judges.clear)
    true = sounds["held out"]
    rows = []
    for name, x in sounds.items():
        family = judges.family.predict(note_judges.family_features(x, rate))
        pitch = note_judges.right_pitch(note_judges.track_pitch(x[clear], rate), batch["pitch"][clear])
        same = None if name == "held out" else float(np.mean(audio.log_spectral_distance(x, true, rate)))
        rows.append(
            [name, float(np.mean(pitch)) if len(pitch) else None, float(np.mean(family == batch["label"] // FAMILY)),
             float(np.mean(family == wanted // FAMILY)), same]
        )  # fmt: skip
    header = ["", "pitch kept", "own family heard", "wanted family heard", "LSD to the note (dB)"]
    caption = (
        f"{len(true)} notes; pitch of the {int(clear.sum())} whose instruments, own and wanted, are of clear pitch"
    )
    return Table(header, rows, caption)


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))
