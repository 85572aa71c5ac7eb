"""Labelled image sets from TensorFlow Datasets, in memory or on disk, without TensorFlow."""

import dataclasses
import difflib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from scorekit.data.quiet import quiet_tfds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageSet:
    """Labelled images in memory.

    Attributes:
      x: the images ``(N, H, W, C)``, uint8 in ``0..bins-1``.
      label: the classes ``(N,)``, int32 in ``0..num_classes-1``.
      num_classes: the number of classes.
      bins: number of values that a pixel can take: 256, or 17 for ``sklearn_digits``.
      name: the TFDS name.
    """

    x: np.ndarray
    label: np.ndarray
    num_classes: int
    bins: int
    name: str


def load(name: str, split: str, data_dir: str | os.PathLike | None = None) -> ImageSet:
    """Reads one split of a TFDS image set into memory, preparing the set on first use.

    The set is written as array_record files under ``data_dir``, without progress bars or log lines; an interrupted
    preparation is not mistaken for a complete one later. ``sklearn_digits`` needs no download; TFDS downloads
    ``mnist``, ``fashion_mnist``, ``cifar10`` and ``svhn_cropped`` from their publishers.

    Args:
      name: a TFDS name with the features ``image`` (fixed shape, uint8) and ``label``: ``"sklearn_digits"``,
        ``"mnist"``, ``"fashion_mnist"``, ``"cifar10"``, ``"svhn_cropped"``, ...
      split: a TFDS split, such as ``"train"``, ``"test"``, ``"train[:80%]"`` or ``"train+test"``.
      data_dir: directory of prepared sets, created if missing; ``None`` is the default of TFDS (``$TFDS_DATA_DIR`` or
        ``~/tensorflow_datasets``).

    Returns:
      The images, in TFDS's fixed order.

    Raises:
      ValueError: if the name or split is unknown, the set is not of labelled uint8 images of one shape, or it cannot
        be downloaded, written or read; the message says what to do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digits = load("sklearn_digits", "train[:50%]", folder)
    >>> digits.x.shape, digits.x.dtype, digits.bins
    ((750, 8, 8, 1), dtype('uint8'), 17)
    """
    builder = _builder(name, data_dir)
    num_classes = _check_features(name, builder.info.features)
    builder = _prepare(builder, name, data_dir)
    examples = read_split(builder, split)
    return ImageSet(
        x=np.stack([example["image"] for example in examples]),
        label=np.asarray([example["label"] for example in examples], np.int32),
        num_classes=num_classes,
        bins=(builder.info.metadata or {}).get("levels", 256),
        name=builder.name,
    )


class TfdsImages:
    """A split of a TFDS image set on disk; see :func:`open_images`.

    Attributes:
      name: the TFDS name.
      num_classes: the number of classes.
      bins: number of values that a pixel can take.
      shape: ``(H, W, C)`` of every image.
    """

    def __init__(self, builder, split: str, num_classes: int):
        self.name, self.num_classes = builder.name, num_classes
        self.bins = (builder.info.metadata or {}).get("levels", 256)
        self.shape: tuple[int, int, int] = builder.info.features["image"].shape
        self._source, self._unusable = _open_split(builder, split), _unusable(builder)
        with quiet_tfds():  # the first example loads the decoder
            self[0]

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Several examples, which is several times faster than one by one."""
        try:
            examples = self._source.__getitems__(list(indices))
        except Exception as error:
            raise ValueError(f"{self._unusable} ({error})") from error
        return [{"x": example["image"], "label": np.int32(example["label"])} for example in examples]


def open_images(name: str, split: str, data_dir: str | os.PathLike | None = None) -> TfdsImages:
    """Opens one split of a TFDS image set for reading example by example, preparing the set on first use.

    Args:
      name: as in :func:`load`.
      split: as in :func:`load`.
      data_dir: as in :func:`load`.

    Returns:
      A source for :func:`scorekit.data.stream`: ``source[i]`` is ``{"x": uint8 (H, W, C), "label": int32}``, in TFDS's
      fixed order.

    Raises:
      ValueError: as :func:`load`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     digits = open_images("sklearn_digits", "train[:50%]", folder)
    ...     example = digits[0]
    >>> len(digits), digits.shape, digits.bins, example["x"].dtype
    (750, (8, 8, 1), 17, dtype('uint8'))
    """
    builder = _builder(name, data_dir)
    num_classes = _check_features(name, builder.info.features)
    return TfdsImages(_prepare(builder, name, data_dir), split, num_classes)


def prepared(name: str, data_dir: str | os.PathLike | None = None):
    """The TFDS builder of this name, after preparing its set in ``data_dir`` if necessary.

    Raises:
      ValueError: if the name is unknown, or the set cannot be downloaded, written or read; the message says what to do.
    """
    return _prepare(_builder(name, data_dir), name, data_dir)


def read_split(builder, split: str) -> list[dict]:
    """All examples of a split of a prepared set, in TFDS's fixed order.

    Args:
      builder: TFDS builder of a prepared set.
      split: such as ``"train"``, ``"train[:80%]"`` or ``"train+test"``.

    Raises:
      ValueError: if the split is unknown or its files are damaged.
    """
    source = _open_split(builder, split)
    try:
        with quiet_tfds():
            return source.__getitems__(list(range(len(source))))
    except Exception as error:
        raise ValueError(f"{_unusable(builder)} ({error})") from error


def _open_split(builder, split: str):
    """The TFDS data source of a split of a prepared set."""
    try:
        with quiet_tfds():
            return builder.as_data_source(split)  # type: ignore[call-arg]  (hidden by a decorator)
    except Exception as error:
        if not builder.info.splits:
            raise ValueError(_unusable(builder)) from error
        raise ValueError(
            f"split must select examples of {sorted(builder.info.splits)}, as in 'train[:80%]', got {split!r}: {error}"
        ) from error


def _builder(name: str, data_dir: str | os.PathLike | None):
    """The TFDS builder of this name, writing array_record files."""
    with quiet_tfds():
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.registered import DatasetNotFoundError

        import scorekit.data.digits
        import scorekit.data.notes
        import scorekit.data.phrases  # noqa: F401  (registers soundfont_phrases)

    folder = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        with quiet_tfds():
            return tfds.builder(name, data_dir=folder, file_format="array_record")
    except DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name, known) or ["sklearn_digits", "mnist", "cifar10"]
        raise ValueError(f"name must be a TFDS data set, got {name!r}; did you mean {' or '.join(close)}?") from error
    except (AssertionError, ImportError, OSError, ValueError) as error:
        raise ValueError(
            f"name={name!r} cannot be opened as array_record files in data_dir={data_dir!s}: {error}"
        ) from error


def _prepare(builder, name: str, data_dir: str | os.PathLike | None):
    """Prepares the set of a builder; another process may prepare it at the same time."""
    from scorekit.data.without_tensorflow import tensorflow_stand_in

    try:
        with tensorflow_stand_in(), quiet_tfds():
            builder.download_and_prepare()
    except Exception as error:
        if not builder.data_path.exists():  # no other process has completed it
            raise ValueError(_advice(name, data_dir, error)) from error
        builder = _builder(name, data_dir)
    return builder


def _advice(name: str, data_dir: str | os.PathLike | None, error: Exception) -> str:
    """The message of a failed preparation: what went wrong, and a remedy."""
    import requests

    if isinstance(error, requests.RequestException):
        remedy = (
            "it has to be downloaded and its publisher cannot be reached; connect to the internet, or copy a prepared"
            " set into data_dir from another machine, or use name='sklearn_digits', which needs no download"
        )
    elif isinstance(error, OSError):
        remedy = "data_dir must be a folder that can be written, with enough space"
    elif isinstance(error, ImportError) and "scorekit[audio]" in str(error):
        remedy = "a package is missing"
    elif isinstance(error, ImportError):
        remedy = "this set needs TensorFlow to be prepared: pip install tensorflow-cpu"
    else:
        remedy = "remove its files from data_dir/downloads and try again"
    return f"name={name!r} could not be prepared in data_dir={data_dir!s}: {remedy} ({error!r})"


def _unusable(builder) -> str:
    return f"data_dir: {builder.data_path} is damaged or incomplete; delete it to have it prepared again"


def _check_features(name: str, features) -> int:
    """Checks that a set holds labelled uint8 images of one shape; returns the number of classes."""
    named = dict(features.items())
    image, label = named.get("image"), named.get("label")
    shape = getattr(image, "shape", ())
    if len(shape) != 3 or None in shape or getattr(image, "np_dtype", None) != np.uint8:
        raise ValueError(
            f"name must be a set with the feature 'image', uint8 (H, W, C) of one shape; {name!r} has {features}"
        )
    num_classes = getattr(label, "num_classes", None)
    if num_classes is None:
        raise ValueError(f"name must be a set with the class feature 'label'; {name!r} has {features}")
    return num_classes
