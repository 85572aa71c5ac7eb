"""TensorFlow Datasets without TensorFlow: prepares sets of any kind as array_record files and reads their splits.

>>> builder = builder_of("mnist", "/nowhere")
>>> builder.info.splits
{}
>>> read_split(builder, "train")
Traceback (most recent call last):
ValueError: data_dir: /nowhere/mnist/3.0.1 is damaged or incomplete; delete it to have it prepared again
>>> prepare(builder_of("nothing", None), "nothing", None)  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'nothing'; did you mean ...?
>>> prepared("mnits")  # doctest: +ELLIPSIS
Traceback (most recent call last):
ValueError: name must be a TFDS data set, got 'mnits'; did you mean mnist...
"""

import difflib
import os
from collections.abc import Iterable
from typing import Any, cast

from scorekit.data._tfds.contexts import quiet_tfds


def prepared(name: str, data_dir: str | os.PathLike | None = None):
    """The TFDS builder of this name, after preparing its set in ``data_dir`` if necessary.

    Args:
      name: TFDS name, with its config after a slash.
      data_dir: directory of prepared sets; ``None`` is the default of TFDS.
    """
    return prepare(builder_of(name, data_dir), name, data_dir)


def read_split(builder, split: str) -> list[dict]:
    """All examples of a split of a prepared set, in TFDS's fixed order.

    Args:
      builder: a TFDS builder.
      split: a TFDS split, such as ``"train[:80%]"``.
    """
    source = open_split(builder, split)
    with quiet_tfds():
        return read_examples(source, range(len(source)), unusable(builder))


def read_examples(source, indices: Iterable[int], damaged: str) -> list[dict]:
    """Several examples of a TFDS data source; ``damaged`` is the error where they cannot be read."""
    try:
        return source.__getitems__(list(indices))
    except (ImportError, MemoryError):  # the files are good
        raise
    except Exception as error:
        raise ValueError(f"{damaged} ({error})") from error


def open_split(builder, split: str):
    """The TFDS data source of a split of a prepared set."""
    if not isinstance(split, str):  # TFDS would open every split, or each of several
        raise ValueError(f"split must be text, such as 'train' or 'train[:80%]', got {split!r}")
    try:
        with quiet_tfds():
            return cast(Any, builder).as_data_source(split)  # its argument is hidden by a decorator
    except Exception as error:
        if not builder.info.splits:
            raise ValueError(unusable(builder)) from error
        raise ValueError(
            f"split must select examples of {sorted(builder.info.splits)}, as in 'train[:80%]', got {split!r}: {error}"
        ) from error


def builder_of(name: str, data_dir: str | os.PathLike | None):
    """The TFDS builder of this name, writing array_record files.

    Args:
      name: TFDS name, with its config after a slash.
      data_dir: directory of prepared sets; ``None`` is the default of TFDS.
    """
    if not isinstance(name, str):
        raise ValueError(f"name must be text, the name of a TFDS data set, got {name!r}")
    with quiet_tfds():
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.registered import DatasetNotFoundError

    folder = None if data_dir is None else os.path.expanduser(os.fspath(data_dir))
    try:
        with quiet_tfds():
            return tfds.builder(name, data_dir=folder, file_format="array_record")
    except DatasetNotFoundError as error:
        known = tfds.list_builders(with_community_datasets=False)
        close = difflib.get_close_matches(name, known) or ["mnist", "cifar10"]
        raise ValueError(f"name must be a TFDS data set, got {name!r}; did you mean {' or '.join(close)}?") from error
    except (AssertionError, ImportError, OSError, ValueError) as error:
        raise ValueError(
            f"name={name!r} cannot be opened as array_record files in data_dir={data_dir!s}: {error}"
        ) from error


def prepare(builder, name: str, data_dir: str | os.PathLike | None):
    """Prepares the set of a builder; another process may prepare it at the same time.

    Args:
      builder: a TFDS builder.
      name: TFDS name, with its config after a slash.
      data_dir: directory of prepared sets; ``None`` is the default of TFDS.
    """
    from scorekit.data._tfds.contexts import tensorflow_stand_in

    try:
        with tensorflow_stand_in(), quiet_tfds():
            builder.download_and_prepare()
    except Exception as error:
        if not builder.data_path.exists():  # no other process has completed it
            raise ValueError(_advice(name, data_dir, error)) from error
        builder = builder_of(name, data_dir)
    return builder


def _advice(name: str, data_dir: str | os.PathLike | None, error: Exception) -> str:
    """The message of a failed preparation: what went wrong, and a remedy, which an error of the builder may have."""
    import requests

    if own := getattr(error, "remedy", None):
        return f"name={name!r} could not be prepared in data_dir={data_dir!s}: {own}"
    if isinstance(error, requests.RequestException):
        remedy = (
            "it has to be downloaded and its publisher cannot be reached; connect to the internet, or copy a prepared"
            " set into data_dir from another machine"
        )
    elif isinstance(error, OSError):
        remedy = "data_dir must be a folder that can be written, with enough space"
    elif isinstance(error, ImportError) and "scorekit[" in str(error):
        remedy = "a package is missing"
    elif isinstance(error, ImportError):
        remedy = "this set needs TensorFlow to be prepared: pip install tensorflow-cpu"
    else:
        remedy = "remove its files from data_dir/downloads and try again"
    return f"name={name!r} could not be prepared in data_dir={data_dir!s}: {remedy} ({error!r})"


def unusable(builder) -> str:
    return f"data_dir: {builder.data_path} is damaged or incomplete; delete it to have it prepared again"
