"""Phrases from their piano roll, longer than what the model was trained on: MIDI to audio.

    python -m experiments.audio.perform --workdir=runs/phrases
    python -m experiments.audio.perform --workdir=runs/phrases --seconds=8.192 --num=16
    python -m experiments.audio.perform --workdir=runs/phrases --midi=song.mid --program=73

The model, trained on pieces of ``config.data.crop`` samples, denoises overlapping windows of that length, blended at
every step; for comparison also windows that share nothing. New phrases are drawn from seeds of no training or test
phrase and rendered from the SoundFont too, so that chroma and onsets can be compared with what was asked for. A MIDI
file is played by one instrument, as far as it fits the keys from 36 to 84, and nothing is compared. Prints a table and
writes ``perform.html`` with players, ``perform.json`` and the sounds into ``workdir/perform``.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments.models import choices as build, model
from experiments.cli import command_line, progress
from experiments.reporting import audio_widgets as players
from experiments.models.runs import Experiment, config_path, open_experiment
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import kind_of
from experiments.reporting.report import Heading, Table, tables_as_text, write_report
from scorekit import audio, guidance, process, samplers
from scorekit.data.phrases import FRAME_RATE, PROGRAMS, Note, piano_roll, random_phrase, render_phrase
from scorekit.data.soundfont import read_soundfont
from scorekit.guidance import windows
from scorekit.io.files import write_atomic
from scorekit.networks import Masked

FIRST_SEED = 2 * 10**9
"""Of new phrases: neither a training nor a test phrase has it."""

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a run of experiments.train with a config of phrases.")
_STEP = flags.DEFINE_integer("step", None, "Checkpoint to use; the newest by default.")
_SECONDS = flags.DEFINE_float("seconds", 4.096, "Least length of a phrase.")
_NUM = flags.DEFINE_integer("num", 20, "Number of new phrases.", lower_bound=2)
_SHOWN = flags.DEFINE_integer("shown", 5, "Number of phrases to listen to.", lower_bound=1)
_OVERLAP = flags.DEFINE_float("overlap", 0.5, "Share of a window that the next one covers too.")
_MIDI = flags.DEFINE_string("midi", None, "A MIDI file to play in place of new phrases.")
_PROGRAM = flags.DEFINE_integer("program", 0, "The instrument for --midi, one that the model knows.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the noise.")


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = Path(str(_WORKDIR.value)).expanduser().absolute()
    _check(config, workdir)
    scale = config.sampling.guidance_scale
    run = open_experiment(config, workdir, _STEP.value, (scale,))
    rate, size = run.dataset.sample_rate, run.model.shape[0]
    assert rate is not None
    frame = round(rate / FRAME_RATE)
    hop = max(round((1 - _OVERLAP.value) * size / frame), 1) * frame
    scores, programs = _played(rate)
    last = max(note.end for score in scores for note in score) if _MIDI.value else _SECONDS.value
    length = size + max(-(-(round(last * rate) - size) // hop), 0) * hop
    rolls = np.stack([piano_roll(score, 1 + length // frame) for score in scores])
    ways = {"blended windows": hop, "separate windows": size} if _MIDI.value is None else {"blended windows": hop}
    print(f"{len(rolls)} phrases of {length / rate:.3f} s in windows of {size / rate:.3f} s …", flush=True)
    sounds = {}
    with progress.Progress(len(ways) + 1, batch_size=len(rolls), label="perform") as shown:
        if _MIDI.value is None:
            font = read_soundfont()
            rendered = [
                render_phrase(font, program, score, sample_rate=rate, seconds=length / rate)
                for score, program in zip(scores, programs, strict=True)
            ]
            sounds["rendered"] = np.stack(rendered)
        shown.update(1)
        for i, (name, step) in enumerate(ways.items()):
            sounds[name] = perform(config, run, rolls, np.asarray(programs, np.int32), step, _SEED.value)[:, :length]
            shown.update(2 + i)
    out = workdir / "perform"
    tables = [] if _MIDI.value else [compare(sounds, rate, size)]
    labels = [f"{i}: program {program}" for i, program in enumerate(programs[: _SHOWN.value])]
    heard = players.players(out, {k: x[: _SHOWN.value] for k, x in sounds.items()}, rate, row_labels=labels)
    rows = [row for table in tables for row in table.records()]
    write_atomic(out / "perform.json", json.dumps(rows, indent=2) + "\n")
    facts = {"data": run.dataset.name, "checkpoint": f"step {run.step:,}", "guidance scale": scale}
    write_report(out / "perform.html", "scorekit: phrases from piano rolls", facts, [*tables, Heading("Sounds"), heard])
    for table in tables:
        print(f"{tables_as_text([table])}({table.caption})")
    print(progress.final_line(str(out / "perform.html"), time.monotonic() - start))


def perform(
    config: Config, run: Experiment, rolls: np.ndarray, programs: np.ndarray, hop: int, seed: int
) -> np.ndarray:
    """Sounds ``(N, L)`` of rolls ``(N, T, 128)`` by windows ``hop`` samples apart, ``L`` the least that fits them.

    With the solver, the grid, the rules and the guidance scale of ``config``.
    """
    rate, size = run.dataset.sample_rate, run.model.shape[0]
    assert rate is not None
    frame = round(rate / FRAME_RATE)
    needed = (rolls.shape[1] - 1) * frame
    length = size + max(-(-(needed - size) // hop), 0) * hop
    rolls = np.pad(rolls, [(0, 0), (0, 1 + length // frame - rolls.shape[1]), (0, 0)])
    count = windows.num_windows(length, size, hop)
    batch = {"roll": rolls, "stored": np.zeros((len(rolls), length), np.int16)}
    told = np.asarray(run.model.extracts["dense_map"](batch))
    told = cut_map(told, length, size, hop)
    given = {
        "labels": np.repeat(programs, count),
        "dense_map": Masked(told, np.ones(len(told), bool)),
    }
    solver, ts = build.build_sampler(config, run.model.schedule)
    scale = config.sampling.guidance_scale
    guided = model.make_guided(config, run.model)

    @jax.jit
    def draw(params, key, given):
        for_prior, for_steps = jax.random.split(key)
        long = guidance.windowed(guided(params, given, None if scale == 1 else scale, run.extras), size, hop)
        like = jax.ShapeDtypeStruct((len(rolls), length, *run.model.shape[1:]), jnp.float32)
        x = process.sample_prior(for_prior, run.model.schedule, like, ts[0])
        key = for_steps if solver.stochastic else None
        return run.dataset.from_model(samplers.sample(key, long, run.model.schedule, solver, x, ts))

    return np.asarray(draw(run.params, jax.random.key(seed), given))[:, :needed]


def cut_map(told: np.ndarray, length: int, size: int, hop: int) -> np.ndarray:
    """The map of each window: cut as the signal, or by centred frames, one more than the places divide into."""
    rows = told.shape[1]
    if rows == length:
        return np.asarray(windows.cut_windows(told, size, hop))
    step = length // (rows - 1)
    return np.asarray(windows.cut_windows(told, size // step + 1, hop // step))


def compare(sounds: dict[str, np.ndarray], rate: int, size: int) -> Table:
    """How each version follows what was asked for, and what is to be heard where windows meet.

    Chroma and onsets are correlated with the rendered phrase, and with that of another roll.
    """
    chroma = jax.jit(lambda x: audio.chroma(x, rate))
    onsets = jax.jit(lambda x: audio.onset_envelope(x, rate))
    real = sounds["rendered"]
    rows = []
    for name, x in sounds.items():
        values: list[float | None] = []
        for measure in (chroma, onsets):
            mine, true = measure(x), measure(real)
            own = None if name == "rendered" else float(audio.correlation(mine, true).mean())
            values += [own, float(audio.correlation(mine, np.roll(true, 1, axis=0)).mean())]
        seams = range(size, x.shape[1] - 2, size)
        values += [float(np.median(audio.seam_roughness(x, list(seams)))) if len(seams) else None]
        rows.append([name, *values])
    header = ["", "chroma", "chroma, another roll", "onsets", "onsets, another roll", "roughness at seams"]
    caption = (
        f"correlations with the rendered phrases, means over {len(real)} of {real.shape[1] / rate:.3f} s; roughness: "
        f"the median energy of the second difference at multiples of {size / rate:.3f} s, where separate windows "
        f"meet, over that everywhere"
    )
    return Table(header, rows, caption)


def read_midi(path: str) -> list[Note]:
    """The notes of a MIDI file within the keys from 36 to 84, without its percussion."""
    import pretty_midi

    try:
        song = pretty_midi.PrettyMIDI(path)
    except (OSError, ValueError, EOFError) as error:
        raise ConfigError(f"--midi={path}: must be a MIDI file: {error}") from error
    played = [note for part in song.instruments if not part.is_drum for note in part.notes]
    notes = [Note(n.pitch, n.velocity, n.start, n.end) for n in played if 36 <= n.pitch <= 84]
    if not notes:
        raise ConfigError(f"--midi={path}: must have notes from 36 to 84")
    return sorted(notes, key=lambda note: note.start)


def _played(rate: int) -> tuple[Sequence[Sequence[Note]], list[int]]:
    """What is asked for, and by which instruments."""
    if _MIDI.value is not None:
        return [read_midi(_MIDI.value)], [_PROGRAM.value]
    scores = [random_phrase(FIRST_SEED + i, _SECONDS.value) for i in range(_NUM.value)]
    return scores, [PROGRAMS[i % len(PROGRAMS)] for i in range(_NUM.value)]


def _check(config: Config, workdir: Path) -> None:
    if kind_of(config.data.name) != "phrases" or config.data.map.name not in ("piano_roll", "tones"):
        raise ConfigError(f"--workdir={workdir}: must hold a model of phrases that is told their roll")
    if not 0 <= _OVERLAP.value < 1:
        raise ConfigError(f"--overlap={_OVERLAP.value}: must be in [0, 1)")
    if not 0 < _SECONDS.value < float("inf"):
        raise ConfigError(f"--seconds={_SECONDS.value}: must be finite and > 0")
    if _PROGRAM.value not in PROGRAMS:
        raise ConfigError(f"--program={_PROGRAM.value}: must be one of {', '.join(map(str, PROGRAMS))}")


if __name__ == "__main__":
    command_line.run(main, lambda: config_path(_WORKDIR.value))
