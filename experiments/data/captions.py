"""Captions of images and sounds as conditions: states of tokens for cross-attention, and one pooled vector for each.

A frozen encoder of text computes them once, before training, and they are kept in ``captions`` in
``config.data.data_dir``, in files that are named by captions and weights. An image with an empty caption, or none, has
the null token of the network.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from experiments.cli.fields import Field, Section, Text
from experiments.data.dataset import Batch, OfField
from scorekit import data
from scorekit.arguments import Count
from scorekit.data import EncodedCaptions
from scorekit.io import read_arrays
from scorekit.typing import Array

TOKENS, POOLED = "captions", "caption"
"""What ``config.conditions.tokens.name`` and ``config.conditions.vector.name`` call the two conditions."""
LENGTH = 64
_ARRAYS = ("captions", "states", "mask", "pooled")
_LOSSES = r"\d+ of \d+ different captions "
"""How the warnings of :func:`scorekit.data.encode_captions` begin."""


FIELDS = Section(
    encoder=Field(
        None,
        Text("a folder, or a file .npz"),
        """
        The frozen encoder of text: a folder with ``model.safetensors``, ``config.json`` and ``tokenizer.json``, or a
        file ``.npz`` with ``captions`` (N texts), ``states`` (N, T, C), ``mask`` (N, T) and ``pooled`` (N, D) of an
        encoder of your own; None is all-MiniLM-L6-v2.""",
    ),
    length=Field(
        None,
        Count(3, 512),
        """
        Tokens of a caption at most, the marks of beginning and end included; None is 64.""",
    ),
)
"""The section ``conditions.captions``."""


class Tokens(OfField):
    """Cross-attention on the tokens of the caption: their states ``(B, T, C)``."""

    field = "caption_states"

    def present(self, batch: Mapping[str, Any]) -> Array:
        """``(B, T)``: which tokens there are."""
        return jnp.asarray(batch["caption_mask"])


class Pooled(OfField):
    """The caption as one vector, of norm 1 by the built-in encoder."""

    field = "caption_pooled"

    def present(self, batch: Mapping[str, Any]) -> Array:
        """``(B,)``: which images have a caption."""
        return jnp.asarray(batch["caption_mask"]).any(1)


class Captions:
    """The different captions of a set, encoded.

    Args:
      texts: U captions, none of them empty.
      encoded: what the encoder says of each.
    """

    def __init__(self, texts: Sequence[str], encoded: EncodedCaptions):
        self._row = {text: i for i, text in enumerate([*texts, ""])}
        self._encoded = EncodedCaptions(*(np.concatenate([value, np.zeros_like(value[:1])]) for value in encoded))

    def rows_of(self, images: Sequence) -> np.ndarray:
        """The captions of each image as indices ``(N, K)``, repeated where an image has fewer than K.

        Args:
          images: for each image a list of captions, or one caption.
        """
        listed = lists(images)
        most = max(map(len, listed))
        return np.asarray([np.resize([self._row[text] for text in texts], most) for texts in listed], np.int32)

    def fields(self, index: np.ndarray) -> Batch:
        """The fields of a batch with these captions ``(B,)``."""
        return {f"caption_{name}": value[index] for name, value in self._encoded._asdict().items()}

    def drawn(self, batch: Batch, *, seed: int, step: int, first_row: int) -> Batch:
        """The batch with one of the captions of each image, a function of seed, step and row of the global batch.

        Args:
          batch: rows with ``captions`` ``(B, K)``, which :meth:`rows_of` gives.
          seed, step: seed and step of the run.
          first_row: index of the first of these rows.
        """
        of_rows = batch["captions"]
        chosen = draws(seed, step, first_row, len(of_rows), 0, of_rows.shape[1])
        rest = {name: value for name, value in batch.items() if name != "captions"}
        return {**rest, **self.fields(of_rows[np.arange(len(of_rows)), chosen])}


def draws(seed: int, step: int, first_row: int, rows: int, stream: int, high: int) -> np.ndarray:
    """Integers ``(rows,)`` from 0 to ``high - 1``, each a function of seed, step, row and stream.

    >>> all_rows, rest = draws(0, 7, 0, 4, 0, 100), draws(0, 7, 2, 2, 0, 100)
    >>> bool((all_rows[2:] == rest).all())
    True
    """
    one = lambda row: np.random.default_rng((seed, step, row, stream)).integers(high)
    return np.asarray([one(row) for row in range(first_row, first_row + rows)], np.int64)


class Source(NamedTuple):
    """A frozen encoder of text.

    Attributes:
      encoder: its folder, or a file ``.npz`` of encoded captions; None is all-MiniLM-L6-v2.
      length: tokens of a caption at most; None is 64.
      data_dir: the folder whose subfolder ``captions`` keeps what is encoded; None keeps nothing.
    """

    encoder: str | None = None
    length: int | None = None
    data_dir: str | None = None

    def of_sets(self, sets: Sequence[Sequence | None], name: str) -> Captions:
        """The captions of the images of some sets, of which each image has a list of captions, or one caption.

        ``name`` is the name of the data, for the error message; a set is None if it has no captions.
        """
        if any(part is None for part in sets):
            raise ConfigError(f"config.conditions: tokens and vector must not be captions of {name}, which has none")
        known = sorted({text for part in sets for texts in lists(part or ()) for text in texts if text})
        if not known:
            raise ConfigError(f"config.conditions: all captions of {name} are empty")
        return Captions(known, self.encode(known, keep=True))

    def encode(self, texts: Sequence[str], *, keep: bool = False, given: str | None = None) -> EncodedCaptions:
        """The states, masks and pooled vectors of captions, in half precision.

        Args:
          texts: N captions, none of them empty.
          keep: whether to keep them in a file for the next run.
          given: the flag that they were typed at, for error messages.
        """
        if self.encoder is not None and str(self.encoder).endswith(".npz"):
            return _from_file(str(self.encoder), texts)
        folder = Path(self.data_dir).expanduser() / "captions" if keep and self.data_dir else None
        try:
            encoder = data.load_caption_encoder(self.encoder)
        except (ValueError, ImportError, OSError) as error:
            raise ConfigError(f"config.conditions.captions.encoder={self.encoder}: {error}") from error
        try:
            return data.encode_captions(
                encoder, list(texts), length=self.length or LENGTH, dtype="float16", folder=folder
            )
        except (ValueError, OSError) as error:
            raise ConfigError(f"{given or 'config.conditions.captions'}: {error}") from error

    def encode_given(self, texts: Sequence[str], given: str | None) -> EncodedCaptions:
        """The same of captions that are typed at the flag ``given``: what would be cut, or is unknown, is an error.

        None is for captions of data, of which a warning says how many lose something, as in training.
        """
        if given is None:
            return self.encode(texts)
        with warnings.catch_warnings():
            warnings.filterwarnings("error", _LOSSES, UserWarning)
            try:
                return self.encode(texts, given=given)
            except UserWarning as warning:
                raise ConfigError(f"{given}: {warning}; write them otherwise") from warning


def subjects(texts: Sequence[Sequence], named: Sequence[Sequence[str] | None]) -> list[np.ndarray]:
    """The subjects of images as integers, equal for images of one subject: for each set ``(N,)``, int32.

    Args:
      texts: for each set and image a list of captions, or one caption.
      named: for each set the subjects in words, in place of the first captions; None if they have no such names.

    >>> [numbers.tolist() for numbers in subjects([["a cat", ""], ["a cat", ["a dog", "a cat"]]], [None, None])]
    [[1, 0], [1, 2]]
    """
    words = [
        [first for first, *_ in lists(part)] if names is None else list(names)
        for part, names in zip(texts, named, strict=True)
    ]
    row = {text: i for i, text in enumerate(sorted({text for part in words for text in part}))}
    return [np.asarray([row[text] for text in part], np.int32) for part in words]


def _from_file(path: str, texts: Sequence[str]) -> EncodedCaptions:
    given = f"config.conditions.captions.encoder={path}"
    try:
        stored = read_arrays(Path(path).expanduser())
        arrays = {name: stored[name] for name in _ARRAYS}
    except (ValueError, KeyError, OSError) as error:
        raise ConfigError(f"{given}: must be a file .npz with {', '.join(_ARRAYS)}: {error}") from error
    captions, states, mask, pooled = (arrays[name] for name in _ARRAYS)
    number = len(captions)
    fits = states.ndim == 3 and mask.shape == states.shape[:2] and pooled.ndim == 2
    if captions.ndim != 1 or not fits or mask.dtype != bool or {len(states), len(pooled)} != {number}:
        shapes = ", ".join(f"{name} {value.shape} {value.dtype}" for name, value in arrays.items())
        raise ConfigError(
            f"{given}: must hold captions (N,), states (N, T, C), mask (N, T) of booleans and pooled "
            f"(N, D), got {shapes}"
        )
    row = {str(text).strip(): i for i, text in enumerate(captions)}
    missing = [text for text in texts if text not in row]
    if missing:
        raise ConfigError(f"{given}: has no caption {missing[0]!r}; it has {number}, such as {str(captions[0])!r}")
    index = np.asarray([row[text] for text in texts])
    return EncodedCaptions(states[index], mask[index], pooled[index])


def styled(caption: str, style: str | None) -> str:
    """A caption with the words of a style.

    >>> styled("a red heart", "noto")
    'a red heart, noto style'
    """
    return caption if style is None else f"{caption}, {style} style"


def lists(part: Sequence) -> list[list[str]]:
    """The captions of each image of a set, where some may be single texts.

    >>> lists(["a cat ", ["a dog", "a pet"]])
    [['a cat'], ['a dog', 'a pet']]
    """
    return [[str(text).strip() for text in ([one] if isinstance(one, str) else one)] or [""] for one in part]
