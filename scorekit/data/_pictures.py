"""Pictures from files: decoded by Pillow, of one size and mode, with a class and a caption."""

import io
import os
from typing import Any, Literal, TypeAlias, cast

import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.data._records import Files, Record
from scorekit.io import read_file

MOST_PICTURE = 2**28
"""Bytes of a picture."""
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
Mode: TypeAlias = Literal["RGB", "L"]
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_CONVERTIBLE = ("1", "CMYK", "L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr")


class PictureSource:
    """Pictures with random access: example ``i`` is ``{"x": (H, W, C) uint8, "label": int32}``, and ``"caption"`` if
    pictures have captions. Without classes all pictures are of one, which has no name.
    """

    def __init__(self, files: Files, size: int | None, mode: str | None):
        self.name, self.num_classes, self.classes = files.name, files.num_classes, files.classes
        self.captioned, self._files = files.captioned, files
        self._size, self._mode = size, mode
        self._shape: tuple[int, int, int] | None = None

    def __len__(self) -> int:
        return len(self._files.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of the first picture that can be read; a ``ValueError`` if none of the first 1000 can."""
        errors: list[ValueError] = []
        for index in range(min(len(self), 1000)) if self._shape is None else ():
            try:
                self._shape = self._decoded(self._files.record(index)).shape
                break
            except ValueError as error:
                errors.append(error)
        if self._shape is None:
            raise ValueError(f"no picture can be read: {errors[0]}")
        return self._shape

    def header(self, index: int) -> tuple[int, int, str] | None:
        """Width, height and mode of a picture as it is in its file, which is not decoded; None if it is damaged."""
        from PIL import Image

        try:
            with self._files.record(index).open() as file, Image.open(cast(Any, file), formats=_FORMATS) as picture:
                return *picture.size, picture.mode
        except Exception:  # of many kinds, SyntaxError among them
            return None

    def _decoded(self, record: Record) -> np.ndarray:
        return decode(record.content(MOST_PICTURE), record.name, self._size, self._mode)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}, got {index}")
        record = self._files.record(int(index))
        x = self._decoded(record)
        if x.shape != self.shape:
            what, fix = ("size", "size=") if x.shape[:2] != self.shape[:2] else ("mode", "mode=")
            raise ValueError(
                f"{record.name} must be of the {what} of the first picture, (height, width, channels) = {self.shape}, "
                f"got {x.shape}; {fix} makes all alike"
            )
        return {"x": x, **self._files.fields(record)}


@checked
def read_picture(path: str | os.PathLike, *, size: PositiveInt | None = None, mode: Mode | None = None) -> np.ndarray:
    """Reads one image, in the same way as :func:`scorekit.data.folder`: uint8 ``(H, W, C)``.

    Args:
      path: path of the file.
      size: pixels a side of the middle square, resized; None: the image keeps its size.
      mode: ``"RGB"`` or ``"L"`` (grey) converts, with white behind transparent pixels; None: all must be of one mode.

    >>> read_picture("nowhere.png")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: nowhere.png cannot be read: [Errno 2] No such file or directory: '...nowhere.png'
    """
    try:
        content = read_file(path, limit=MOST_PICTURE)
    except OSError as error:
        raise ValueError(f"{os.fspath(path)} cannot be read: {error}") from error
    return decode(content, os.fspath(path), size, mode)


def decode(content: bytes, name: str, size: int | None, mode: str | None) -> np.ndarray:
    """A picture ``(H, W, C)`` in uint8, upright by its EXIF orientation; its middle square by Lanczos's filter."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:  # Pillow limits the pixels
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except Exception as error:  # of many kinds, SyntaxError among them
        why = "is not a picture" if isinstance(error, Image.UnidentifiedImageError) else f"is damaged: {error}"
        raise ValueError(f"{name} {why}") from error
    if picture.mode not in _CONVERTIBLE:
        raise ValueError(f"{name} must have 8 bits a channel, it is {picture.mode}")
    clear = picture.has_transparency_data
    if mode is None and (clear or picture.mode not in ("L", "RGB")):
        found = picture.mode + " with a transparent colour" * (clear and picture.mode in ("L", "RGB"))
        raise ValueError(f"{name} must be RGB or L (grey), it is {found}; mode='RGB' converts")
    if mode is not None and (clear or picture.mode != mode):
        if clear:
            rgba = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), rgba)
        picture = picture.convert(mode)
    if size is not None:
        picture = _square(picture, size)
    array = np.array(picture)
    return array[..., None] if array.ndim == 2 else array


def _square(picture: Any, size: int) -> Any:
    from PIL import Image

    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    square = picture.crop(box)  # before: the filter would look beyond the box
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)
