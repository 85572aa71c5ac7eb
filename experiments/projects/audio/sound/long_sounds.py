"""Sounds longer than what a model was trained on: by overlapping windows, also from piano rolls."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, require
from experiments.data.dataset import in_blocks
from experiments.data.sounds import Sounds
from experiments.models.samples import check_samples
from experiments.tasks.diffusion.build import build_rules, build_sampler, sampler_of
from experiments.tasks.diffusion.guidance import make_guided
from experiments.tasks.task import Run
from scorekit import guidance, process, samplers
from scorekit.data.phrases import FRAME_RATE
from scorekit.guidance import windows
from scorekit.networks import Masked
from scorekit.typing import Array, Denoiser, Key, PyTree, Schedule, Solver

_WINDOWS = 160
"""Most windows that are computed at once."""


def hop_of(run: Run, overlap: float) -> int:
    """Samples between windows that overlap by ``overlap`` of a window: whole frames of the roll, whole positions."""
    sounds = cast(Sounds, run.dataset)
    frame = math.lcm(round(sounds.sample_rate / FRAME_RATE), sounds.length // run.model.shape[0])
    return max(round((1 - overlap) * sounds.length / frame), 1) * frame


def perform(config: Config, run: Run, rolls: np.ndarray, programs: np.ndarray, hop: int, seed: int) -> np.ndarray:
    """Sounds ``(N, L)``, as long as the rolls ``(N, T, 128)``, by windows ``hop`` samples apart.

    Windows have the length of the sounds of training. The solver, the grid, the rules and the guidance scale are those
    of ``config``.
    """
    dataset = cast(Sounds, run.dataset)
    size, frame = dataset.length, round(dataset.sample_rate / FRAME_RATE)
    position, needed = size // run.model.shape[0], (rolls.shape[1] - 1) * frame
    length = size + max(-(-(needed - size) // hop), 0) * hop
    rolls = np.pad(rolls, [(0, 0), (0, 1 + length // frame - rolls.shape[1]), (0, 0)])
    classes = programs if config.data.label in (None, "instrument") else np.zeros_like(programs)
    each = windows.num_windows(length, size, hop)
    num = min(max(_WINDOWS // each, 1), len(rolls))
    draw, of_length = make_blended(config, run, num, length // position, hop // position), dataset.of_length(length)
    sounds_of = jax.jit(lambda *given: not_clipped(of_length.at_peak(of_length.to_sound(draw(*given)))))
    keys = (jax.random.fold_in(jax.random.key(seed), i) for i in itertools.count())

    def block(at):
        batch = {"roll": rolls[at], "raw": np.zeros((num, length), np.int16)}
        dense_map = cut_map(np.asarray(run.model.extracts["dense_map"](batch)), length, size, hop)
        labels, given = np.repeat(classes[at], each), Masked(dense_map, np.ones(len(dense_map), bool))
        return sounds_of(run.params, next(keys), {"labels": labels, "dense_map": given})

    sounds = in_blocks(block, np.arange(len(rolls)), num)
    return check_samples(sounds, sampler_of(config), "phrases")[:, :needed]


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
    scale, size = config.sampling.guidance_scale, run.model.shape[0]
    guided = make_guided(build_rules(config), run.model)

    def draw(params, key, given):
        long = guidance.windowed(guided(params, given, None if scale == 1 else scale, run.extras), size, hop)
        return sample(key, long, run.model.schedule, solver, [batch, length, *run.model.shape[1:]], ts)

    return draw


def sample(key: Key, denoiser: Denoiser, schedule: Schedule, solver: Solver, shape: Sequence[int], ts: Array) -> Array:
    """A sample from noise at the first time."""
    for_prior, for_steps = jax.random.split(key)
    x = process.sample_prior(for_prior, schedule, jax.ShapeDtypeStruct(tuple(shape), jnp.float32), ts[0])
    return samplers.sample(denoiser, schedule, solver, x, ts, key=for_steps if solver.stochastic else None)


def cut_map(dense_map: np.ndarray, length: int, size: int, hop: int) -> np.ndarray:
    """The map of each window: cut like the signal, or by centred frames, one more than the hops of a window."""
    rows = dense_map.shape[1]
    if rows == length:
        return np.asarray(windows.cut_windows(dense_map, size, hop))
    step = length // (rows - 1)
    return np.asarray(windows.cut_windows(dense_map, size // step + 1, hop // step))


def keys_of(config: Config) -> tuple[int, int]:
    """The lowest and the highest key of a model that is conditioned on a roll, which is validated."""
    chosen, allowed = config.conditions.map, "piano_roll or tones: the model must be conditioned on the roll"
    require(chosen.name in ("piano_roll", "tones"), "conditions.map.name", chosen.name, allowed)
    lowest, highest = chosen.lowest, chosen.highest
    return 36 if lowest is None else lowest, 84 if highest is None else highest
