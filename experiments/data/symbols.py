"""Examples as sequences of codes, in some order: pixels, μ-law samples, voices or events of music, an autoencoder's.

Args:
  base: fine values of a coarse one; by default the square root of the number of values, rounded up: 5 of the 17
    of digits, 16 of 256.
  codes: size of the vocabulary.
  factor: keeps the low frequencies alone, at a sample rate that is lower by this factor.
  length: events of an example; shorter sequences are filled up with their end, longer ones are cut.
  level: of the codes of an autoencoder with several levels, the one that is modelled, given all coarser ones; the
    coarsest is 1.
  levels: levels of brightness, to which the values are rounded down; all values of the data by default. 2 is one bit.
  resolution: a step of the times of events, in seconds; the longest shift of time is a second.
  slices: copies along each side, which it divides.
  velocities: bins of the velocities of events, from 1 (none are coded) to 127 (each is).
"""

import contextlib
import math
from collections.abc import Callable, Generator
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.choices import Choices
from experiments.data import rolls
from experiments.data.dataset import Batch, Dataset, Encoded, in_blocks
from scorekit import audio
from scorekit.arguments import Between, Count, PositiveInt
from scorekit.data import to_unit
from scorekit.data.events import EventCode
from scorekit.typing import Array, ArrayLike

_Values: TypeAlias = Annotated[int, Count(2, 2**16)]


class Coding(NamedTuple):
    """Examples as arrays of codes.

    Attributes:
      num_codes: size of the vocabulary.
      grid: shape of the codes of one example.
      encode: raw examples ``(B, ...)`` to codes ``(B, *grid)``; on the host where that takes no time: batches then
        wait for no device.
      decode: the other way round, to samples.
      exact: whether decoding gives back every example.
      given: codes of coarser levels, which come flat before the codes of the level, then flat too, in what ``encode``
        returns and ``decode`` takes.
      condition: codes of coarser levels ``(B, given)`` as a map of the network ``(B, *grid, C)``.
    """

    num_codes: int
    grid: tuple[int, ...]
    encode: Callable[[Any], ArrayLike]
    decode: Callable[[Array], Array]
    exact: bool
    end: int | None = None
    """The code that nothing else follows, with which sequences are filled up; None for sequences of one length."""
    given: int = 0
    condition: Callable[[Array], Array] | None = None


def pixels(dataset: Any, levels: _Values | None = None) -> Coding:
    """The values of the pixels of an image."""
    bins = _bins_of(dataset, "pixels")
    num = bins if levels is None else levels
    if num > bins:
        raise ValueError(f"levels must be at most the {bins} values of {dataset.name}, got {num}")
    encode = lambda x: np.asarray(x, np.int32) * num // bins
    return Coding(num, dataset.shape, encode, lambda codes: to_unit(codes, num), num == bins)


def planes(dataset: Any, base: _Values | None = None) -> Coding:
    """The values of the pixels in two planes, as in depth upscaling (Menick & Kalchbrenner 2018).

    Every value is ``base * coarse + fine``. The coarse parts of all pixels come first, the fine ones follow, each given
    all the coarse ones; both are codes of one vocabulary. The two log-probabilities of a pixel add up to the
    log-probability of its value, since no two pairs stand for the same value. A pair that stands for no value, which a
    model may draw, becomes the largest value.
    """
    bins = _bins_of(dataset, "planes")
    size = math.isqrt(bins - 1) + 1 if base is None else base
    if size >= bins:
        raise ValueError(f"base must be below the {bins} values of {dataset.name}, got {size}")
    encode = lambda x: np.stack(np.divmod(np.asarray(x, np.int32), size), axis=1)
    decode = lambda codes: to_unit(jnp.minimum(size * codes[:, 0] + codes[:, 1], bins - 1), bins)
    num_codes = max(size, -(-bins // size))
    return Coding(num_codes, (2, *dataset.shape), encode, decode, exact=True)


def _bins_of(dataset: Any, name: str) -> int:
    if dataset.bins is None:
        raise ValueError(f"name must be another one than {name}: {dataset.name} has no pixels of discrete values")
    return dataset.bins


def mu_law(dataset: Any, codes: _Values = 256, factor: Annotated[int, Count(1, 1024)] = 1) -> Coding:
    """μ-law codes of a sound; decoded ones have the peak of the data."""
    if not hasattr(dataset, "sample_rate"):
        raise ValueError(f"name must be another one than mu_law: {dataset.name} has no sounds")
    length = dataset.test["x"].shape[1]
    if length % factor:
        raise ValueError(f"factor must be a divisor of the {length} samples of {dataset.name}, got {factor}")

    @jax.jit
    def encode(x):
        sound = audio.pcm_to_float(jnp.asarray(x))
        return audio.mu_law_encode(sound if factor == 1 else audio.low_rate(sound, factor), codes)

    def decode(encoded):
        sound = audio.mu_law_decode(encoded, codes)
        return dataset.at_peak(sound if factor == 1 else audio.high_rate(sound, factor))

    return Coding(codes, (length // factor,), encode, decode, exact=False)


def codes(dataset: Any, level: Annotated[int, Count(1, 1024)] | None = None) -> Coding:
    """The codes of the autoencoder of ``config.latents``, one for each vector of the latent, or one level of them."""
    if len(grids := getattr(dataset, "code_grids", ())) > 1:
        return _level(dataset, grids, level)
    if level is not None and level > 1:
        raise ValueError(f"level must be None or 1: {dataset.name} has one level of codes, got {level}")
    if getattr(dataset, "codes", None) is None:
        raise ValueError(
            f"name=codes takes config.latents, a run of an autoencoder with codes; {dataset.name} has none"
        )
    table = np.asarray(dataset.codes, np.float64)

    def encode(x):  # nearest_code on the host
        z = np.asarray(x, np.float64)
        return np.argmin(np.sum(table**2, axis=-1) - 2.0 * z @ table.T, axis=-1).astype(np.int32)

    decode = lambda codes: dataset.from_model(dataset.codes[codes])
    return Coding(len(table), tuple(dataset.shape[:-1]), encode, decode, exact=False)


def _level(dataset: Any, grids: list[tuple[int, ...]], level: int | None) -> Coding:
    """The codes of one of several levels; its map is the latent of all coarser ones, folded to its positions."""
    if level is None or level > len(grids):
        raise ValueError(
            f"level must be from 1, the coarsest, to {len(grids)}, the levels of {dataset.name}, got {level}"
        )
    grid, sizes = grids[level - 1], [math.prod(each) for each in grids[:level]]
    flat = jax.jit(lambda x: jnp.concatenate([each.reshape(len(x), -1) for each in dataset.code_levels(x)[:level]], 1))
    ends, factor = np.cumsum(sizes), dataset.shape[0] // grid[0]

    def split(codes: Array) -> list[Array]:
        parts = zip(ends, sizes, grids, strict=False)
        return [codes[:, end - size : end].reshape(-1, *shape) for end, size, shape in parts if end <= codes.shape[1]]

    def condition(given: Array) -> Array:
        folded = dataset.from_codes(split(given)).reshape(len(given), *(n for side in grid for n in (side, factor)), -1)
        axes = range(1, folded.ndim - 1)
        return folded.transpose(0, *axes[::2], *axes[1::2], -1).reshape(len(given), *grid, -1)

    given, decode = sum(sizes[:-1]), lambda codes: dataset.decode_codes(split(codes.reshape(len(codes), -1)))
    return Coding(
        dataset.num_codes, grid, flat, decode, exact=False, given=given, condition=condition if given else None
    )


def roll(dataset: Any) -> Coding:
    """The voices of a piano roll in steps of 64 ms: nothing, the note is held, or one of 49 notes begins."""
    if not hasattr(dataset, "songs"):
        raise ValueError(f"name must be codes, mu_law or pixels: {dataset.name} has no voices")
    decode = lambda codes: rolls.pictures(rolls.from_codes(codes))
    return Coding(rolls.NUM_CODES, tuple(dataset.shape), rolls.to_codes, decode, exact=True)


def events(
    dataset: Any,
    resolution: Annotated[float, Between(0.001, 1)] = 0.01,
    velocities: Annotated[int, Count(1, 127)] = 32,
    length: PositiveInt = 256,
) -> Coding:
    """The notes of a window of music as events (:class:`scorekit.data.events.EventCode`); samples are raw examples."""
    if not hasattr(dataset, "to_notes"):
        raise ValueError(f"name must be codes, mu_law or pixels: {dataset.name} has no notes")
    sizes: dict[str, Any] = {"shifts": round(1 / resolution), "lowest": rolls.LOWEST, "highest": rolls.HIGHEST}
    code, seconds = EventCode(resolution=resolution, velocities=velocities, **sizes), dataset.seconds
    shape = dataset.of_notes([[]]).shape[1:]

    def encode(x):
        sequences = np.full((len(x), length), code.end, np.int32)
        for row, example in zip(sequences, x, strict=True):
            tokens = code.encode(dataset.to_notes(example), seconds=seconds, window=True)[:length]
            row[: len(tokens)] = tokens
        return sequences

    def raw(sequences):
        decoded = [code.decode(row, seconds) for row in np.asarray(sequences)]
        if wrong := [score.remarks[0] for score in decoded if score.remarks]:
            print(f"{len(wrong)} of {len(sequences)} sequences of events repaired, such as: {wrong[0]}", flush=True)
        return np.asarray(dataset.of_notes([score.notes for score in decoded]), np.float32)

    def decode(sequences):
        return jax.pure_callback(raw, jax.ShapeDtypeStruct((len(sequences), *shape), jnp.float32), sequences)

    if cut := int(np.sum(encode(dataset.test["x"])[:, -1] != code.end)):
        print(f"{cut} held-out examples have more than {length} events and are cut", flush=True)
    return Coding(code.num_tokens, (length,), encode, decode, exact=False, end=code.end)


CODINGS = Choices(
    {one.__name__: one for one in (codes, events, mu_law, pixels, planes, roll)},
    "pixels",
    "What the symbols of an example are.",
    ("dataset",),
)


def raster(grid: tuple[int, ...]) -> np.ndarray:
    """Row by row, as the codes are stored."""
    return np.arange(int(np.prod(grid)))


def subscale(grid: tuple[int, ...], slices: Annotated[int, Count(1, 1024)] = 2) -> np.ndarray:
    """The order of Subscale Pixel Networks (Menick & Kalchbrenner 2018): one interleaved small copy after the other.

    Copy (a, b) holds the positions ``(a + slices i, b + slices j)``; the copies follow each other row by row in (a, b),
    and the positions of each row by row in (i, j). Planes follow each other, each in this order.
    """
    if len(grid) == 4:  # planes of an image
        order = subscale(grid[1:], slices)
        return np.concatenate([plane * len(order) + order for plane in range(grid[0])])
    if len(grid) < 2 or grid[0] % slices or grid[1] % slices:
        raise ValueError(f"slices must divide the rows and columns of the codes, of shape {grid}, got {slices}")
    index = np.arange(int(np.prod(grid))).reshape(grid)
    copies = [index[a::slices, b::slices].ravel() for a in range(slices) for b in range(slices)]
    return np.concatenate(copies)


ORDERS = Choices(
    {"raster": raster, "subscale": subscale},
    "raster",
    "The order of the symbols, of those with rows and columns.",
    ("grid",),
)


class Symbols(Encoded):
    """A data set whose examples are sequences of codes ``(L,)``, decoded to data by :meth:`from_model`.

    Batches are encoded as they are drawn; the training and the test set are each encoded on first use.

    Args:
      inner: the data.
      coding: coding made by one of :data:`CODINGS`.
      order: order made by one of :data:`ORDERS`: position i of a sequence is place ``order[i]`` of the flattened codes.
    """

    def __init__(self, inner: Dataset, coding: Coding, order: np.ndarray):
        super().__init__(inner)
        self.coding, self._order, self._back = coding, np.asarray(order), np.argsort(order)
        self.shape, self.bins = (len(order),), coding.num_codes

    def read(self, part):
        rows = self.inner.test if part else self.inner.train
        return {**in_blocks(self._encode, rows["x"], min(50, len(rows["x"]))), "label": rows["label"]}

    def _encode(self, x: np.ndarray) -> Batch:
        codes, given = np.asarray(self.coding.encode(x)).reshape(len(x), -1), self.coding.given
        return {"x": codes[:, given:][:, self._order], **({"given": codes[:, :given]} if given else {})}

    def batch(self, seed, step, size):
        return self._encoded(self.inner.batch(seed, step, size))

    def batches(self, seed, first_step, size, process_index=0, process_count=1) -> Generator[Batch, None, None]:
        with contextlib.closing(self.inner.batches(seed, first_step, size, process_index, process_count)) as batches:
            yield from map(self._encoded, batches)

    def _encoded(self, batch: Batch) -> Batch:
        return {**self._encode(batch["x"]), "label": batch["label"]}

    @property
    def positions(self) -> np.ndarray | None:
        """Plane, row, column and channel of each position, one-hot, ``(L, P)``; None for codes along one axis."""
        if len(self.coding.grid) < 2:
            return None
        coordinates = np.unravel_index(self._order, self.coding.grid)
        each = [np.eye(size, dtype=np.float32)[at] for size, at in zip(self.coding.grid, coordinates, strict=True)]
        return np.concatenate(each, axis=1)

    @property
    def condition(self) -> Callable[[Array], Array] | None:
        """The codes of coarser levels as a map of the network ``(B, L, C)``; None without any."""
        make = self.coding.condition
        return make and (lambda given: make(given).reshape(len(given), *self.shape, -1)[:, self._order])

    def to_model(self, x):
        return jnp.asarray(x, jnp.int32)

    def from_model(self, x, conditions=None):
        """Samples as data; ``conditions["given"]`` are the codes of coarser levels, if there are any."""
        codes = jnp.asarray(x)[:, self._back]
        if self.coding.given:
            return self.coding.decode(jnp.concatenate([(conditions or {})["given"], codes], axis=1))
        return self.coding.decode(codes.reshape(len(x), *self.coding.grid))

    def real(self, part):
        """Real examples of the data, such as the preview's, not of sequences."""
        return self.inner.real(part)
