"""Music from a model of voices: drawn in windows that overlap given or drawn notes.

A window has the length of the examples of training. Its known notes, given or drawn before, are a condition: symbols
without a mask of a masked diffusion, the prefix of a causal model.
"""

from collections.abc import Callable, Sequence

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
NOTHING = np.zeros((0, rolls.VOICES), np.uint8)
"""The states of a piece of which nothing is given."""
Fill = Callable[[Key, np.ndarray, int, np.ndarray], np.ndarray]
"""``(key, codes (B, WINDOW, VOICES), known, labels (B,)) -> codes``, of which the first ``known`` steps are kept."""


def windows(given: int, steps: int, context: int) -> list[int]:
    """The first steps of the windows in which a piece is drawn from step ``given``, each with at most ``context`` steps
    that are known before what it draws, or more in the last window.

    >>> windows(0, 160, 32)
    [0, 32, 64, 96]
    """
    starts = []
    while given < steps:
        starts.append(int(np.clip(given - context, 0, steps - WINDOW)))
        given = starts[-1] + WINDOW
    return starts


def compose(
    fill: Fill, given: np.ndarray, steps: int, labels: ArrayLike | Sequence[int], seed: int, context: int
) -> np.ndarray:
    """Pieces as states, one for each label, which continue the ``given`` states ``(n, VOICES)`` by so many steps.

    No given note is held on; the holding of one that a model draws is left out.
    """
    done, classes, key = len(given), np.asarray(labels, np.int32), jax.random.key(seed)
    states = np.zeros((len(classes), max(done + steps, WINDOW), rolls.VOICES), np.uint8)
    states[:, :done] = given
    for i, start in enumerate(windows(done, states.shape[1], context)):
        at = slice(start, start + WINDOW)
        drawn = fill(jax.random.fold_in(key, i), rolls.to_codes(states[:, at]), done - start, classes)
        before = states[:, start - 1] if start else np.zeros_like(states[:, 0])
        states[:, done : start + WINDOW] = np.asarray(rolls.from_codes(drawn, before))[:, done - start :]
        _end(states, len(given))
        done = start + WINDOW
    return states[:, : len(given) + steps]


def _end(states: np.ndarray, given: int) -> None:
    """Silences, in place, what is held on of the first ``given`` steps."""
    cut = np.full_like(states[:, 0], given > 0, bool)
    for step in range(given, states.shape[1]):
        now = states[:, step]
        cut &= (now > 0) & (now % 2 == 0)
        states[:, step] = np.where(cut, 0, now)


def check(config: Config) -> None:
    """Validates that a model can compose."""
    if config.task != "sequence" or config.symbols.name != "roll":
        raise ConfigError("--workdir: must hold a model of the voices of music, with config.symbols.name=roll")
    require(config.order.name == "raster", "order.name", config.order.name, "raster, which draws the steps in order")
    require(config.model != "uniform", "model", config.model, "masked or autoregressive, which keep given notes")
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
    model, transform, guided = run.model, transform_of(config.sampling), None if scale == 1 else scale
    process, solver = model.process, build_solver(config) if model.process is not None else None
    steps = (config.sampling.steps or model.length) + 1

    def one_by_one(params, key, codes, known, labels):
        current = guided_conditionals(model, params, labels, guided)
        prefix = codes[:, :known] if known else None
        return ar.sample(key, current, len(codes), model.length, prefix=prefix, transform=transform)

    def by_masks(params, key, codes, known, labels):
        denoiser = guided_denoiser(model, params, labels, guided, transform=transform)
        z = jnp.where(jnp.arange(model.length) < known, codes, process.num_tokens)
        if solver is None:
            return discrete.first_hitting_sample(key, denoiser, process, z)
        masked = jnp.clip(1 - known / model.length, 1e-3, 1 - 1e-6)  # a fraction: the noise level that has so many
        begin = process.schedule.time_at(jnp.log1p(-masked) - jnp.log(masked))
        begin = jnp.where(known > 0, begin, 1.0)
        return discrete.sample(key, denoiser, process, solver, z, jnp.linspace(begin, 0.0, steps))

    sample = jax.jit(one_by_one, static_argnums=3) if process is None else jax.jit(by_masks)

    def fill(key, codes, known, labels):
        flat = jnp.asarray(codes.reshape(len(codes), -1), jnp.int32)
        drawn = np.asarray(sample(run.params, key, flat, known * rolls.VOICES, labels))
        return check_codes(drawn, f"guidance scale {scale:g}, {config.model}").reshape(codes.shape)

    return fill
