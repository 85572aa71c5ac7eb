"""A folder of images as a source of examples."""

import os

from scorekit.arguments import PositiveInt, checked
from scorekit.data._folder_files import FolderFiles
from scorekit.data._pictures import SUFFIXES, Mode, PictureSource


@checked
def folder(path: str | os.PathLike, *, size: PositiveInt | None = None, mode: Mode | None = None) -> PictureSource:
    """The images in a folder, read on access: a source for :func:`scorekit.data.stream`.

    ``source[i]`` is ``{"x": uint8 (H, W, C), "label": int32}``, with ``"caption"`` if there are captions. The class
    of an image is its subfolder (at any depth below it), numbered in the order of the names; without subfolders there
    is one class. Captions are the text of ``name.txt`` alongside ``name.jpg``, or lines ``{"file_name": "cats/1.jpg",
    "text": "a cat"}`` of ``captions.jsonl`` or ``metadata.jsonl`` in the folder, where ``"label": "cats"`` is a class
    in place of the subfolder; none is given twice, and at least one names an image. Names that begin with a dot are
    left out. Images are in path order. The source has ``name``, ``num_classes``,
    ``classes``, ``captioned`` and ``shape`` ``(H, W, C)``.

    Args:
      path: the folder, with files of the kinds bmp, gif, jpeg, jpg, png, ppm, tif, tiff, webp.
      size: pixels a side of the middle square, resized; None: images keep their size, which must be one.
      mode: ``"RGB"`` or ``"L"`` (grey) converts, with white behind transparent pixels; None: all must be of one mode.

    Raises:
      ValueError: for no images, images both in subfolders and alongside them, or a line that is none of these;
        ``source[i]`` for one that is damaged, of another size or mode, or has no class or caption where others have
        one.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as path:
    ...     for name in ("cat", "dog"):
    ...         os.mkdir(f"{path}/{name}")
    ...         Image.new("RGB", (20, 10), "red").save(f"{path}/{name}/1.png")
    ...     source = folder(path, size=8)
    ...     example = source[1]
    >>> source.classes, example["x"].shape, int(example["label"])
    (('cat', 'dog'), (8, 8, 3), 1)
    """
    return PictureSource(FolderFiles(path, SUFFIXES, "pictures"), size, mode)
