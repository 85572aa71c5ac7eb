"""Silences TensorFlow Datasets: no progress bars, no log lines, no printed notices."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

_LOGGERS = ("absl", "etils", "tensorflow_datasets", "urllib3.connectionpool")  # the last one logs every retry


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """A context in which TFDS shows no progress bars and prints, logs and warns nothing; exceptions pass through.

    >>> with quiet_tfds():
    ...     pass  # builder.download_and_prepare()
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    disabled = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            from tensorflow_datasets.core.utils import tqdm_utils

            active = getattr(tqdm_utils, "_active", True)
            tqdm_utils.display_progress_bar(False)
            try:
                yield
            finally:
                tqdm_utils.display_progress_bar(active)
    finally:
        for logger, value in zip(loggers, disabled, strict=True):
            logger.disabled = value
