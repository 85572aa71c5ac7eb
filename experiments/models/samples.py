"""Samples by batch in a folder, so that a program that draws many continues where it was killed; and their check.

A finished batch is a file, ``<folder>/<digest>/batch_00012.npy``, with a checksum after the array. The digest is of all
that determines the samples, the values of the parameters included, so that no other samples are taken for them.

Samples must be finite: they are counted before anything is written or scored. Data sets round and clip samples to
values that data can take; where the samples are not finite, :func:`experiments.data.finite.keep_not_finite` passes
that on, so that the count is right after as well as before.
"""

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import jax
import numpy as np
from etils import epath
from jax.experimental import multihost_utils

import scorekit
from experiments.cli import distributed
from experiments.cli.config import ConfigError
from experiments.cli.progress import Progress
from scorekit.io import write_atomic

_CHECKSUM = hashlib.sha256().digest_size

Generate = Callable[..., np.ndarray]
"""``generate(params, seed, labels, guidance_scale, partial=None, steps=None) -> samples``; see
:func:`experiments.tasks.diffusion.build.make_sampler`."""


class Measure(Protocol):
    """Values that are kept in place of a batch of samples, such as features ``(B, D)``; ``identity`` says which."""

    identity: str

    def __call__(self, samples: np.ndarray, /) -> np.ndarray: ...


def digest_of(fields: Mapping[str, Any], *values: Any) -> str:
    """A name for the samples that a config and some values determine.

    Args:
      fields: all fields of the config; how it trains and evaluates does not count.
      *values: trees of arrays, strings and numbers.
    """
    free = ("training", "evaluation")
    used = {name: value for name, value in fields.items() if name not in free}
    versions = {"scorekit": scorekit.__version__, "jax": jax.__version__}
    found = hashlib.sha256(json.dumps([used, versions], sort_keys=True, default=str).encode())
    for leaf in jax.tree.leaves(values):
        array = np.asarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:20]


class PartialSamples:
    """The batches that are drawn, in a folder by the name of each digest; the first process writes them, every one
    reads them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._used: set[str] = set()

    def batches(self, digest: str, num: int, size: int, draw: Callable[[int], np.ndarray]) -> list[np.ndarray]:
        """All batches, in order, read if an earlier call has drawn them, else drawn with a progress bar.

        Args:
          digest: digest of everything that determines the samples.
          num: number of batches.
          size: samples in a batch.
          draw: ``i -> samples`` of the i-th batch.
        """
        folder = self._folder / digest
        self._used.add(digest)
        paths = [folder / f"batch_{i:05d}.npy" for i in range(num)]
        found = [_read(path) for path in paths]
        read = np.array([samples is not None for samples in found])
        done = np.all(np.reshape(multihost_utils.process_allgather(read), (-1, num)), axis=0)  # by every process
        before = int(done.sum())
        if before:
            print(f"{before} of {num} batches of samples were drawn before: {folder}", flush=True)
        with Progress(num, first_step=before, batch_size=size, label="sampling", unit="samples") as bar:
            for drawn, i in enumerate(np.flatnonzero(~done), start=before + 1):
                found[i] = samples = draw(int(i))
                if distributed.is_first():
                    _write(paths[i], samples)
                bar.update(drawn)
        return cast(list[np.ndarray], found)

    def remove(self, digest: str | None = None) -> None:
        """Removes the batches of one digest, or all that were drawn or read here: the result of them is written."""
        for name in self._used if digest is None else {digest}:
            if distributed.is_first():
                epath.Path(self._folder / name).rmtree(missing_ok=True)
        if distributed.is_first():
            with contextlib.suppress(OSError, ValueError):  # others are in there
                self._folder.rmdir()


def in_batches(
    draw: Callable[[int, np.ndarray], np.ndarray],
    total: int,
    size: int,
    partial: PartialSamples | None,
    digest: Callable[[], str],
) -> np.ndarray:
    """Samples ``(total, ...)`` from batches of one size, for which ``draw`` is compiled once.

    Args:
      draw: ``(i, rows) -> samples`` of these rows, the i-th batch; the last row is repeated to fill the last one.
      total: number of samples.
      size: most samples of a batch.
      partial: keeps the samples of more than one batch until the caller removes them.
      digest: the name of all that determines the samples, see :func:`digest_of`.
    """
    size = min(size, total)
    num = -(-total // size)
    one = lambda i: draw(i, np.minimum(np.arange(i * size, (i + 1) * size), total - 1))
    parts = [one(i) for i in range(num)] if partial is None or num == 1 else partial.batches(digest(), num, size, one)
    return np.concatenate(parts)[:total]


def _write(path: Path, samples: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, samples)
    write_atomic(path, content.getvalue() + hashlib.sha256(content.getvalue()).digest())


def _read(path: Path) -> np.ndarray | None:
    """The samples in a file; None if there is none, or, with one line, if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    array, checksum = content[:-_CHECKSUM], content[-_CHECKSUM:]
    if hashlib.sha256(array).digest() != checksum:
        print(f"{path} is damaged: its batch is drawn again", flush=True)
        return None
    return np.load(io.BytesIO(array))


class NotFinite(ConfigError):
    """Some samples are not finite."""


def check_codes(codes: np.ndarray, by: str) -> np.ndarray:
    """As :func:`check_samples`, for codes ``(B, ...)``, where -1 stands for a value that is not finite.

    >>> check_codes(np.array([[0, 2], [1, -1]]), "autoregressive")
    Traceback (most recent call last):
    experiments.models.samples.NotFinite: 1 of 2 samples are not finite (autoregressive); nothing was written
    """
    check_samples(np.where(codes < 0, np.nan, 0.0), by)
    return codes


def check_samples(samples: Any, by: str, what: str = "samples") -> Any:
    """Returns the samples, arrays (or trees of them) with a leading axis.

    Args:
      by: a name for the model that drew them, for the error message.
      what: a name for the samples, likewise.

    Raises:
      NotFinite: if any of them is not finite, with their number.

    >>> check_samples(np.array([[0.0], [np.nan]]), "guidance scale 1e+38")
    Traceback (most recent call last):
    experiments.models.samples.NotFinite: 1 of 2 samples are not finite (guidance scale 1e+38); nothing was written
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(samples)]
    finite = np.all([np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1) for leaf in leaves], axis=0)
    if not finite.all():
        raise NotFinite(f"{np.sum(~finite)} of {len(finite)} {what} are not finite ({by}); nothing was written")
    return samples
