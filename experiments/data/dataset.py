"""The data of an experiment behind one small interface: images and sounds from TFDS, or points of a known density."""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError, choice, require
from experiments.data.representation import Conditions, build_form
from scorekit import audio, data, densities
from scorekit.typing import Array, ArrayLike

Batch = dict[str, np.ndarray]


class Dataset(Protocol):
    """Training batches and a test set.

    Attributes:
      name: what is shown to people.
      shape: shape of one example.
      num_classes: number of classes; the null label is ``num_classes``.
      examples: number of training examples, None when they are drawn anew for every step.
      levels: number of values of discrete data, None for continuous data.
      test: the test set, ``{"x": (N, ...), "label": (N,)}``, and for sounds what else is known of them.
      train: training examples to compare with, likewise.
      sample_rate: of sounds, in Hz; None for anything else.
      latent: whether ``shape`` is that of a latent, and not of the pictures or sounds that samples become.
    """

    name: str
    shape: tuple[int, ...]
    num_classes: int
    examples: int | None
    levels: int | None
    test: Batch
    train: Batch
    sample_rate: int | None = None
    latent: bool = False

    def batch(self, seed: int, step: int, size: int) -> Batch:
        """The batch of one step, a pure function of its arguments."""
        ...

    def to_model(self, x: ArrayLike) -> Array:
        """Stored examples as the floats that the network sees."""
        ...

    def from_model(self, x: Array, given: Conditions | None = None) -> Array:
        """Samples brought to values that the data can take, as floats; sounds as ``(B, L)`` at full scale 1.

        ``given`` is what the network was told, by its names for it: some forms of sounds need it.
        """
        ...

    def real(self, part: Batch) -> np.ndarray:
        """The stored examples of ``part`` as samples are."""
        return np.asarray(self.from_model(self.to_model(part["x"])))

    def to_sound(self, x: Array, given: Conditions | None = None) -> Array:
        """What the network sees as sounds ``(B, L)`` at full scale 1."""
        raise ValueError(f"{self.name} has no sounds")


class Images(Dataset):
    """A TFDS image set, held in memory as uint8."""

    def __init__(self, config: Config):
        try:
            train = data.load(config.name, config.train_split, config.data_dir)
            test = data.load(config.name, config.test_split, config.data_dir)
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error
        self.name, self.shape, self.num_classes = train.name, train.x.shape[1:], train.num_classes
        self.examples, self.levels, self._levels = len(train.x), train.levels, train.levels
        self.train, self.test = ({"x": part.x, "label": part.label} for part in (train, test))

    def batch(self, seed, step, size):
        return data.batch_at(self.train, seed=seed, step=step, batch_size=size)

    def to_model(self, x):
        return data.to_unit(x, self._levels)

    def from_model(self, x, given=None):
        return data.to_unit(data.from_unit(x, self._levels), self._levels)


class Ring(Dataset):
    """Eight Gaussians on a circle; the class is the mode. The density is known: see ``density``."""

    def __init__(self):
        self.density = densities.ring()
        self.name, self.shape, self.num_classes = "ring of 8 Gaussians", (2,), 8
        self.examples, self.levels = None, None
        self._draw = jax.jit(self.density.sample_with_labels, static_argnums=1)
        self.train, self.test = (self._points(jax.random.key(i), 2000) for i in (1, 2))

    def _points(self, key, n):
        x, label = self._draw(key, (n,))
        return {"x": np.asarray(x), "label": np.asarray(label, np.int32)}

    def batch(self, seed, step, size):
        return self._points(jax.random.fold_in(jax.random.key(seed), step), size)

    def to_model(self, x):
        return jnp.asarray(x)

    def from_model(self, x, given=None):
        return x


class Sounds(Dataset):
    """Notes or phrases from TFDS, held in memory as 16-bit codes.

    Batches hold ``x`` ``(B, L)``, ``label`` (the instrument, of notes the family, or one class), of notes ``pitch``,
    ``velocity``, ``instrument`` and ``family``, of phrases their ``roll``. With ``config.data.crop`` an example is a
    random piece of a sound, drawn from ``(seed, step)``, and of the test set its beginning; the roll is cut with it.
    ``instruments`` are their names, where the set has them.
    """

    def __init__(self, config: Config):
        options = config.data
        is_phrase = kind_of(options.name) == "phrases"
        choices = ("instrument", "none") if is_phrase else ("instrument", "family", "none")
        label = choice("data.label", options.label or "instrument", choices)
        load: Any = data.load_phrases if is_phrase else data.load_notes
        try:
            splits = options.train_split, options.test_split
            train, test = (load(options.name, split, options.data_dir) for split in splits)
        except ValueError as error:
            raise ConfigError(f"config.data: {error}") from error
        names = ("roll",) if is_phrase else ("pitch", "velocity", "instrument", "family")
        classes = lambda s: np.zeros(len(s.x), np.int32) if label == "none" else getattr(s, label)
        peak = self._peak = options.peak
        require(peak is None or 0 < peak <= 1, "data.peak", peak, "above 0 and at most 1")
        sounds = lambda x: x if peak is None else _codes_at_peak(x, peak)
        whole = [{"x": sounds(s.x), "label": classes(s), **{n: getattr(s, n) for n in names}} for s in (train, test)]
        self.name, self.sample_rate, self.levels = train.name, train.sample_rate, None
        self.instruments = () if is_phrase else train.instruments
        self.examples, self.num_classes = len(train.x), 1 + max(int(part["label"].max()) for part in whole)
        self._frame = round(train.sample_rate / train.frame_rate) if is_phrase else 1
        length = train.x.shape[1]
        self._crop = options.crop or length
        fits = 0 < self._crop <= length and self._crop % self._frame == 0
        require(fits, "data.crop", options.crop, f"a multiple of {self._frame} up to {length}")
        self._form = build_form(config, self._crop, train.sample_rate)
        self._whole = whole[0]
        self.train, self.test = (self._cut(part, np.zeros(len(part["x"]), int)) for part in whole)
        self.shape = jax.eval_shape(self.to_model, self.test["x"][:1]).shape[1:]

    def _cut(self, part: Batch, first: np.ndarray) -> Batch:
        """The piece of each sound that begins at a frame of the roll (of notes: a sample)."""
        if self._crop == part["x"].shape[1]:
            return part
        rows = first[:, None]
        found = {**part, "x": np.take_along_axis(part["x"], self._frame * rows + np.arange(self._crop), axis=1)}
        if "roll" in part:
            frames = rows + np.arange(1 + self._crop // self._frame)
            found["roll"] = np.take_along_axis(part["roll"], frames[..., None], axis=1)
        return found

    def batch(self, seed, step, size):
        part = data.batch_at(self._whole, seed=seed, step=step, batch_size=size)
        places = (part["x"].shape[1] - self._crop) // self._frame + 1
        return self._cut(part, np.random.default_rng((seed, step)).integers(places, size=size))

    def to_model(self, x):
        return self._form.to_model(audio.pcm_to_float(x))

    def to_sound(self, x, given=None):
        return self._form.to_sound(x, given)

    def from_model(self, x, given=None):
        sound = self.to_sound(x, given)
        sound = sound if self._peak is None else to_peak(sound, self._peak)
        return audio.pcm_to_float(audio.float_to_pcm(sound))

    def real(self, part):
        return np.asarray(audio.pcm_to_float(part["x"]))


def to_peak(sound: ArrayLike, peak: float) -> Array:
    """Sounds ``(..., L)`` times a factor each, so that the largest sample of each is ``peak``; silence stays silent.

    >>> to_peak(jnp.array([[0.0, 0.5, -0.25], [0.0, 0.0, 0.0]]), 0.75)
    Array([[ 0.   ,  0.75 , -0.375],
           [ 0.   ,  0.   ,  0.   ]], dtype=float32)
    """
    return jnp.asarray(sound) * (peak / jnp.maximum(jnp.max(jnp.abs(sound), axis=-1, keepdims=True), 2.0**-15))


def _codes_at_peak(x: np.ndarray, peak: float) -> np.ndarray:
    """The same of 16-bit codes ``(N, L)``, a part at a time."""
    parts = (to_peak(audio.pcm_to_float(x[i : i + 500]), peak) for i in range(0, len(x), 500))
    return np.concatenate([np.asarray(audio.float_to_pcm(part), x.dtype) for part in parts])


def kind_of(name: str) -> str:
    """What a data set of this name holds: points, notes, phrases or images."""
    kinds = {"ring": "points", "soundfont_notes": "notes", "nsynth": "notes", "soundfont_phrases": "phrases"}
    return kinds.get(name.split("/")[0], "images")


def load_dataset(config: Config) -> Dataset:
    """The data set that ``config.data`` names, as latents where it names an autoencoder."""
    kind = kind_of(config.data.name)
    found = Ring() if kind == "points" else Images(config.data) if kind == "images" else Sounds(config)
    if not config.data.get("latents"):
        return found
    from experiments.models.latents import open_latents  # which is built on data sets

    require(kind != "points", "data.latents", config.data.latents, "None for points")
    require(config.data.crop is None, "data.crop", config.data.crop, "None: latents are of whole sounds")
    return open_latents(config, found)


def as_seen(dataset: Dataset, batch: Batch) -> dict[str, Any]:
    """A batch with ``x`` in the form that the network sees, and ``stored`` as it was."""
    return {**batch, "x": dataset.to_model(batch["x"]), "stored": batch["x"]}


def evenly(total: int, count: int) -> np.ndarray:
    """``count`` places of ``total``, evenly from the first to the last; all of them if there are not more.

    >>> evenly(9, 3).tolist(), evenly(2, 5).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, total - 1, min(count, total)).round().astype(int)


def held_out_of(dataset: Dataset, labels: np.ndarray) -> Batch:
    """A test example for each label, those of a class in their order and from the first again when they run out.

    Raises:
      ConfigError: for a class without test examples.
    """
    found = {k: np.flatnonzero(dataset.test["label"] == k) for k in np.unique(labels)}
    for label, places in found.items():
        require(len(places) > 0, "data.test_split", dataset.name, f"one with examples of class {label}")
    seen = dict.fromkeys(found, 0)
    rows = []
    for label in labels:
        rows.append(found[label][seen[label] % len(found[label])])
        seen[label] += 1
    return {name: value[rows] for name, value in dataset.test.items()}
