"""Music from a model of voices: drawn in windows that overlap given or drawn notes.

A window has the length of the examples of training. Its known notes, given or drawn before, are a condition: symbols
without a mask of a masked diffusion, the prefix of a causal model.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, require
from experiments.data import rolls
from experiments.data.roll_sets import WINDOW
from experiments.models.samples import NotFinite, check_codes
from experiments.tasks.sequences.sampling import build_solver, guided_conditionals, guided_denoiser, transform_of
from experiments.tasks.task import Run
from scorekit import autoregressive as ar
from scorekit import discrete
from scorekit.typing import ArrayLike, Key

_KEEP = ("ancestral", "confidence_ordered", "first_hitting", "tau_leaping")


class Sketch(NamedTuple):
    """A piece, partly given.

    Attributes:
      states: ``(steps, VOICES)``, 0 where nothing is given.
      known: booleans of the same shape, True where a state is given.
    """

    states: np.ndarray
    known: np.ndarray


Fill = Callable[[Key, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""``(key, codes (B, WINDOW, VOICES), known (WINDOW, VOICES), labels (B,)) -> codes``."""


def nothing(steps: int) -> Sketch:
    """A piece of which nothing is given."""
    return Sketch(np.zeros((steps, rolls.VOICES), np.uint8), np.zeros((steps, rolls.VOICES), bool))


def continued(states: np.ndarray, steps: int) -> Sketch:
    """A piece continued by this number of steps."""
    end = nothing(steps)
    return Sketch(np.concatenate([states, end.states]), np.concatenate([np.ones(states.shape, bool), end.known]))


def harmonised(states: np.ndarray) -> Sketch:
    """A melody in the highest voice, the others to be drawn.

    Raises:
      ValueError: if two notes sound at once.
    """
    melody = rolls.to_played(states)
    together = [b.first for a, b in itertools.pairwise(melody) if b.first < a.last]
    if together:
        raise ValueError(f"must be a melody of one note at a time, got two at {rolls.STEP * together[0]:g} s")
    found = nothing(len(states))
    found.states[:, -1] = states.max(axis=1)
    found.known[:, -1] = True
    return found


def windows(known: np.ndarray, context: int) -> list[int]:
    """The first steps of the windows in which a piece is drawn, one after the other, from ``context`` steps before what
    is missing.

    >>> windows(np.zeros((160, 5), bool), 32)
    [0, 32, 64, 96]
    """
    steps, found = len(known), []
    missing: np.ndarray = np.logical_not(known.all(axis=1))
    while missing.any():
        found.append(int(np.clip(np.argmax(missing) - context, 0, steps - WINDOW)))
        missing[found[-1] : found[-1] + WINDOW] = False
    return found


def compose(fill: Fill, sketch: Sketch, labels: ArrayLike | Sequence[int], seed: int, context: int) -> np.ndarray:
    """Pieces ``(B, steps, VOICES)`` as states, one for each label; no note that is given is changed or held on.

    What a model draws against that is left out: the holding of a note that is given, and a note on a key that a given
    one holds down.
    """
    steps, classes = len(sketch.states), np.asarray(labels, np.int32)
    short = [(0, max(WINDOW - steps, 0)), (0, 0)]
    key, known = jax.random.key(seed), np.pad(sketch.known, short)
    given_at = known.copy()
    states = np.repeat(np.pad(sketch.states, short)[None], len(classes), axis=0)
    for i, start in enumerate(windows(known, context)):
        at = slice(start, start + WINDOW)
        given, codes = known[at].copy(), rolls.to_codes(states[:, at])
        drawn = fill(jax.random.fold_in(key, i), codes, given, classes)
        before = states[:, start - 1] if start else np.zeros_like(states[:, 0])
        states[:, at] = np.where(given, states[:, at], np.asarray(rolls.from_codes(drawn, before)))
        known[at] = True
        _leave_out(states, given_at)
    return states[:, :steps]


def _leave_out(states: np.ndarray, given: np.ndarray) -> None:
    """Silences, in place, what :func:`compose` says, from the first step of a note to its last."""
    cut = np.zeros_like(states[:, 0], bool)
    for step in range(states.shape[1]):
        now, drawn = states[:, step], ~given[step] & (states[:, step] > 0)
        keys = np.where(given[step] & (now > 0), (now.astype(int) - 1) // 2, -1)
        taken = ((now.astype(int)[:, :, None] - 1) // 2 == keys[:, None, :]).any(axis=-1)
        held = drawn & (now % 2 == 0)
        held_on = held & (given[step - 1] | cut) if step else np.zeros_like(cut)
        cut = held_on | (drawn & ~held & taken)
        states[:, step] = np.where(cut, 0, now)


def check(config: Config, given_later: bool = False) -> None:
    """Validates that a model can compose, and with ``given_later`` also from what comes after the notes it draws."""
    if config.task != "sequence" or config.symbols.name != "roll":
        raise ConfigError("--workdir: must hold a model of the voices of music, with config.symbols.name=roll")
    require(config.order.name == "raster", "order.name", config.order.name, "raster, which draws the steps in order")
    require(config.model != "uniform", "model", config.model, "masked or autoregressive, which keep given notes")
    causal = config.model == "autoregressive"
    require(
        not (given_later and causal),
        "model",
        config.model,
        "masked for --harmonise; a causal model composes from nothing or continues",
    )
    if config.model == "masked":
        name = config.sampling.solver.name or "ancestral"
        require(name in _KEEP, "sampling.solver.name", name, f"one that keeps given notes: {', '.join(_KEEP)}")


def make_fill(config: Config, run: Run, scale: float) -> Fill:
    """Draws what is not known in a window, guided with ``scale``.

    Raises:
      NotFinite: for parameters or, when called, codes that are not finite.
    """
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run.params)):
        raise NotFinite(f"the parameters of the {config.model} model are not all finite; nothing was drawn")
    model, transform, guided = run.model, transform_of(config.sampling), scale != 1
    solver = build_solver(config) if model.process is not None else None
    steps = (config.sampling.steps or model.length) + 1

    def one_by_one(params, key, codes, kept, labels):
        current = guided_conditionals(model, params, labels, scale if guided else None)
        prefix = codes[:, :kept] if kept else None
        return ar.sample(key, current, len(codes), model.length, prefix=prefix, transform=transform)

    def by_masks(params, key, codes, known, labels):
        denoiser = guided_denoiser(model, params, labels, scale if guided else None, transform=transform)
        process = model.process
        assert process is not None
        z = jnp.where(known, codes, process.num_tokens)
        if solver is None:
            return discrete.first_hitting_sample(key, denoiser, process, z)
        share = jnp.clip(jnp.mean(~known), 1e-3, 1 - 1e-6)  # of masks: the noise level at which there are so many
        begin = process.schedule.time_at(jnp.log1p(-share) - jnp.log(share))
        begin = jnp.where(known.any(), begin, 1.0)
        return discrete.sample(key, denoiser, process, solver, z, jnp.linspace(begin, 0.0, steps))

    causal = jax.jit(one_by_one, static_argnums=3)
    masked = jax.jit(by_masks)

    def fill(key, codes, known, labels):
        flat = jnp.asarray(codes.reshape(len(codes), -1), jnp.int32)
        if model.process is None:
            kept = int(known.all(axis=1).sum()) * rolls.VOICES
            found = causal(run.params, key, flat, kept, labels)
        else:
            found = masked(run.params, key, flat, jnp.asarray(known.reshape(-1)), labels)
        return check_codes(np.asarray(found), f"guidance scale {scale:g}, {config.model}").reshape(codes.shape)

    return fill
