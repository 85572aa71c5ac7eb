"""Sounds longer than what a model was trained on: by overlapping windows, also from piano rolls, or by roll-out."""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples, sampler_of
from experiments.reporting import grids
from experiments.reporting.report import Figure
from experiments.reporting.tables import Table
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.diffusion.sampling import build_sampler
from experiments.tasks.task import Run
from scorekit import audio, forcing, guidance, process, samplers
from scorekit.data import midi
from scorekit.data.phrases import FRAME_RATE, Note, render_phrase
from scorekit.data.soundfont import read_soundfont
from scorekit.guidance import windows
from scorekit.networks import Masked
from scorekit.typing import Array, Denoiser, Key, PyTree, Schedule, Solver


def sounds_of(run: Run) -> Sounds:
    """The sounds that a model was trained on."""
    return cast(Sounds, run.dataset)


def window_of(run: Run) -> int:
    """Samples of a window: as many as the sounds of training have."""
    return sounds_of(run).length


def hop_of(run: Run, overlap: float) -> int:
    """Samples between windows that overlap by ``overlap`` of a window: whole frames of the roll, whole positions."""
    frame = round(sounds_of(run).sample_rate / FRAME_RATE)
    frame = math.lcm(frame, window_of(run) // run.model.shape[0])
    return max(round((1 - overlap) * window_of(run) / frame), 1) * frame


def perform(config: Config, run: Run, rolls: np.ndarray, programs: np.ndarray, hop: int, seed: int) -> np.ndarray:
    """Sounds ``(N, L)`` of rolls ``(N, T, 128)`` by windows ``hop`` samples apart, ``L`` the shortest that fits them.

    With the solver, the grid, the rules and the guidance scale of ``config``.
    """
    return Performer(config, run, hop)(rolls, programs, seed)


class Performer:
    """:func:`perform` for several batches, which share a compiled program if equal in size; the time is measured.

    Attributes:
      cpu: CPU seconds that drawing has taken, without compilation.
      wall: seconds that it has taken.
    """

    def __init__(self, config: Config, run: Run, hop: int) -> None:
        self.config, self.run, self.hop = config, run, hop
        self.cpu = self.wall = 0.0
        self._compiled: dict[tuple[int, int], Callable[..., Array]] = {}

    def __call__(self, rolls: np.ndarray, programs: np.ndarray, seed: int) -> np.ndarray:
        """Sounds of rolls ``(N, T, 128)``, played by the instruments ``programs``, ``(N,)``."""
        run, hop = self.run, self.hop
        rate, size = sounds_of(run).sample_rate, window_of(run)
        frame, position = round(rate / FRAME_RATE), size // run.model.shape[0]
        needed = (rolls.shape[1] - 1) * frame
        length = size + max(-(-(needed - size) // hop), 0) * hop
        rolls = np.pad(rolls, [(0, 0), (0, 1 + length // frame - rolls.shape[1]), (0, 0)])
        batch = {"roll": rolls, "raw": np.zeros((len(rolls), length), np.int16)}
        dense_map = cut_map(np.asarray(run.model.extracts["dense_map"](batch)), length, size, hop)
        classes = programs if self.config.data.label in (None, "instrument") else np.zeros_like(programs)
        given = {
            "labels": np.repeat(classes, windows.num_windows(length, size, hop)),
            "dense_map": Masked(dense_map, np.ones(len(dense_map), bool)),
        }
        arguments = run.params, jax.random.key(seed), given
        if (len(rolls), length) not in self._compiled:
            draw = make_blended(self.config, run, len(rolls), length // position, hop // position)
            dataset = sounds_of(run).of_length(length)
            sounds = jax.jit(lambda *given: not_clipped(dataset.at_peak(dataset.to_sound(draw(*given)))))
            self._compiled[len(rolls), length] = sounds.lower(*arguments).compile()
        start = time.monotonic(), time.process_time()
        sounds = np.asarray(self._compiled[len(rolls), length](*arguments))
        self.wall, self.cpu = self.wall + time.monotonic() - start[0], self.cpu + time.process_time() - start[1]
        return check_samples(sounds, sampler_of(self.config), "phrases")[:, :needed]


def not_clipped(sounds: Array) -> Array:
    """Sounds ``(N, L)``, those that are louder than full scale attenuated as a whole.

    >>> print(not_clipped(jnp.array([[0.5, -0.25], [1.0, -2.0]])))
    [[ 0.5  -0.25]
     [ 0.5  -1.  ]]
    """
    return sounds / jnp.maximum(jnp.abs(sounds).max(axis=-1, keepdims=True), 1.0)


Draw = Callable[[PyTree, Key, Mapping[str, Any]], Array]
"""``(params, key, conditions) -> x``, what the network models, ``(B, length, ...)``."""


def make_blended(config: Config, run: Run, batch: int, length: int, hop: int) -> Draw:
    """Draws ``length`` positions by windows, ``hop`` positions apart and blended at every step; the conditions
    are of all windows."""
    solver, ts = build_sampler(config, run.model.schedule)
    scale, guided, size = config.sampling.guidance_scale, make_guided(config, run.model), run.model.shape[0]

    def draw(params, key, given):
        long = guidance.windowed(guided(params, given, None if scale == 1 else scale, run.extras), size, hop)
        return _sample(key, long, run.model.schedule, solver, [batch, length, *run.model.shape[1:]], ts)

    return draw


def _sample(key: Key, denoiser: Denoiser, schedule: Schedule, solver: Solver, shape: Sequence[int], ts: Array) -> Array:
    """A sample from noise at the first time."""
    for_prior, for_steps = jax.random.split(key)
    x = process.sample_prior(for_prior, schedule, jax.ShapeDtypeStruct(tuple(shape), jnp.float32), ts[0])
    return samplers.sample(for_steps if solver.stochastic else None, denoiser, schedule, solver, x, ts)


class Rolling(NamedTuple):
    """How a window moves on; see :func:`scorekit.forcing.roll_out`, and ``history_scale`` of its guidance."""

    context: int
    chunk: int
    stabilisation: float = 0.0
    history_scale: float = 1.0


def make_roll_out(config: Config, run: Run, batch: int, length: int, rolling: Rolling) -> Draw:
    """Draws frame after frame in a sliding window; the conditions are of the sounds.

    The finished frames that the first window needs are drawn together: to begin from noise alone, as long as the
    context, is a pattern of levels that training at independent ones hardly ever has, and its first frames are loud.
    """
    schedule, size = run.model.schedule, run.model.shape[0]
    solver, ts = build_sampler(config, schedule)
    scale, guided = config.sampling.guidance_scale, make_guided(config, run.model)
    options = {"window": size, "context": rolling.context, "chunk": rolling.chunk}
    sampler_with = lambda denoiser: forcing.roll_out(
        denoiser, schedule, solver, ts, stabilisation=rolling.stabilisation, **options
    )
    try:
        sampler_with(lambda x, t: x)
    except ValueError as error:
        given = f"--context={rolling.context}, --chunk={rolling.chunk}, config.sampling.solver and .grid"
        raise ConfigError(f"{given}: {error}") from error

    def draw(params, key, given):
        for_history, for_frames, for_start = jax.random.split(key, 3)
        denoiser = guided(params, given, None if scale == 1 else scale, run.extras)
        start = _sample(for_start, denoiser, schedule, solver, (batch, *run.model.shape), ts)[:, : rolling.context]
        if rolling.history_scale != 1:
            noise = jax.random.normal(for_history, (batch, *run.model.shape))
            clean = rolling.stabilisation
            denoiser = forcing.history_guidance(denoiser, schedule, noise, rolling.history_scale, clean=clean)
        like = jax.ShapeDtypeStruct((batch, length - rolling.context, *run.model.shape[1:]), jnp.float32)
        history = start if rolling.context else None
        frames = forcing.sample_long(for_frames, sampler_with(denoiser), like, history)
        return jnp.concatenate([start, frames], axis=1)

    return draw


def cut_map(dense_map: np.ndarray, length: int, size: int, hop: int) -> np.ndarray:
    """The map of each window: cut like the signal, or by centred frames, one more than the hops of a window."""
    rows = dense_map.shape[1]
    if rows == length:
        return np.asarray(windows.cut_windows(dense_map, size, hop))
    step = length // (rows - 1)
    return np.asarray(windows.cut_windows(dense_map, size // step + 1, hop // step))


def compare(sounds: dict[str, np.ndarray], rate: int, size: int) -> Table:
    """How each version follows its roll, and the roughness where windows meet.

    Chroma and onsets are correlated with the rendered phrase, and with another rendered phrase.
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


def keys_of(config: Config) -> tuple[int, int]:
    """The lowest and the highest key of a model that is conditioned on a roll."""
    lowest, highest = config.conditions.map.lowest, config.conditions.map.highest
    return 36 if lowest is None else lowest, 84 if highest is None else highest


def check_roll(config: Config) -> None:
    """Validates that a model is conditioned on a piano roll."""
    require(
        config.conditions.map.name in ("piano_roll", "tones"),
        "conditions.map.name",
        config.conditions.map.name,
        "piano_roll or tones: the model must be conditioned on the roll",
    )


def read_notes(keys: tuple[int, int], path: str, octaves: bool = False) -> list[Note]:
    """The notes of ``--midi`` from the lowest to the highest of ``keys``; prints what was left out or moved."""
    allowed = {"lowest": keys[0], "highest": keys[1]}
    try:
        score = midi.read_score(path, **allowed, out_of_range="octave" if octaves else "error")
    except ValueError as error:
        hint = "" if octaves or "must have notes" not in str(error) else "; --octaves moves them"
        raise ConfigError(f"--midi={path}: {error}{hint}") from error
    for remark in score.remarks:
        print(f"{path}: {remark}", flush=True)
    if not score.notes:
        raise ConfigError(f"--midi={path}: must have notes, got none" + "".join(f" ({r})" for r in score.remarks))
    return list(score.notes)


def render(scores: Sequence[Sequence[Note]], programs: Sequence[int], rate: int, length: int) -> np.ndarray:
    """The sounds ``(N, length)`` of the SoundFont."""
    font, play = read_soundfont(), functools.partial(render_phrase, sample_rate=rate, seconds=length / rate)
    return np.stack([play(font, program, score) for score, program in zip(scores, programs, strict=True)])


def write_rolls(folder: Path, rolls: np.ndarray, programs: Sequence[int]) -> list[Figure]:
    """Writes every roll ``(N, T, 128)`` as ``<row>.mid`` and as a picture, ``<row>_roll.png``; returns the pictures."""
    figures = []
    for i, (roll, program) in enumerate(zip(rolls, programs, strict=True)):
        midi.write_midi(folder / f"{i}.mid", roll, program=program)
        bars = grids.roll(midi.notes_of_roll(roll), len(roll) / FRAME_RATE)
        picture = grids.grid(folder / f"{i}_roll.png", [[bars]], size=grids.ROLL)
        figures.append(Figure(picture, f"The piano roll of phrase {i}, program {program}."))
    return figures
