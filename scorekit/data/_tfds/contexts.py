"""Contexts in which TensorFlow Datasets prints nothing, and in which it works without TensorFlow.

TFDS 4.9.10 writes and reads array_record files without TensorFlow, yet its archive extractor and some builders
open files through ``tf.io.gfile``, its image feature encodes arrays through ``tf.image``, and its audio feature asks
``tf.dtypes`` for a type. Within :func:`tensorflow_stand_in`, a stub with the few functions that they call replaces
TensorFlow. It depends on private names of that version; where they are missing, nothing is replaced and TFDS requires
TensorFlow as usual.

Tested with mnist, fashion_mnist, cifar10 and svhn_cropped, and for reading nsynth.

>>> with quiet_tfds(), tensorflow_stand_in():
...     import tensorflow_datasets
"""

import contextlib
import importlib.util
import io
import logging
import os
import types
import warnings
from collections.abc import Iterator
from unittest import mock

import numpy as np

_LOGGERS = ("absl", "etils", "tensorflow_datasets", "urllib3.connectionpool")  # the last one logs every retry


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """A context in which TFDS shows no progress bars and prints, logs and warns nothing; exceptions pass through."""
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


class _StandIn(types.ModuleType):
    """The part of TensorFlow that the builders use; any other attribute raises an ImportError."""

    __version__ = "0"

    def __init__(self):
        super().__init__("tensorflow")
        self.io = types.SimpleNamespace(
            gfile=types.SimpleNamespace(
                GFile=open,
                exists=os.path.exists,
                isdir=os.path.isdir,
                listdir=os.listdir,
                makedirs=lambda path: os.makedirs(path, exist_ok=True),
            )
        )
        self.compat = types.SimpleNamespace(as_text=lambda text: text.decode() if isinstance(text, bytes) else text)
        self.dtypes = types.SimpleNamespace(as_dtype=np.dtype)

    def __getattr__(self, name: str):
        raise ImportError(f"tf.{name} needs TensorFlow: pip install tensorflow-cpu")


@contextlib.contextmanager
def tensorflow_stand_in() -> Iterator[None]:
    """A context in which TFDS prepares image data sets without TensorFlow; of no effect where that is installed."""
    from tensorflow_datasets.core.features import image_feature
    from tensorflow_datasets.core.utils import lazy_imports_utils

    module = getattr(lazy_imports_utils, "tensorflow", None)
    encoder = getattr(image_feature, "_ImageEncoder", None)
    hooks_exist = hasattr(encoder, "_encode_image") and hasattr(encoder, "_encode_pil_image")
    if importlib.util.find_spec("tensorflow") or module is None or not hooks_exist:
        yield
        return
    with (
        mock.patch.dict(module.__dict__, _module=_StandIn()),
        mock.patch.object(encoder, "_encode_image", _encode_image),
    ):
        yield


def _encode_image(encoder, image: np.ndarray) -> bytes:
    """PNG or JPEG bytes of an image array ``(H, W, C)``, by Pillow."""
    from PIL import Image

    if image.dtype != np.uint8 or image.ndim != 3:
        raise ValueError(f"image must be uint8 (H, W, C), got {image.dtype} {image.shape}")
    return encoder._encode_pil_image(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image))
