"""Shards of examples in tar files, in the layout of WebDataset, with random access."""

import os
from collections.abc import Iterable

from scorekit.arguments import PositiveInt, checked
from scorekit.data._pictures import SUFFIXES, Mode, PictureSource
from scorekit.data._tar_files import TarFiles


@checked
def tar(
    paths: str | os.PathLike | Iterable[str | os.PathLike],
    *,
    size: PositiveInt | None = None,
    mode: Mode | None = None,
    index_folder: str | os.PathLike | None = None,
) -> PictureSource:
    """The images in tar files, read in place on access: a source like :func:`scorekit.data.folder`.

    Files of one key, the path up to the first dot of the file's name, are one example: a picture ``0001.jpg`` (or png,
    webp, ...), its class ``0001.cls`` (an integer), its caption ``0001.txt``, and ``0001.json``, an object of which
    ``"label"`` is a class and ``"caption"`` or ``"text"`` a caption; the former two take precedence. Classes are below
    2²⁰. A hard link stands for an earlier file; a symbolic link is an error (``tar --dereference`` stores its target).

    The offsets in a tar file are found once and written as ``name.tar.index.json`` alongside it, where that is
    possible; they are found anew if its size or time of modification has changed.

    Args:
      paths: one uncompressed tar file or several, read in the order given; a folder of them, or a pattern.
      size: pixels a side of the middle square, resized; None: images keep their size, which must be one.
      mode: ``"RGB"`` or ``"L"`` (grey) converts, with white behind transparent pixels; None: all must be of one mode.
      index_folder: folder to keep the offsets in instead, created if missing.

    Raises:
      ValueError: for a file that is no tar file, compressed, truncated or without images; ``source[i]`` for an example
        that is damaged, of another size or mode, or without a class or caption where others have one.

    >>> import io, tarfile, tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as path:
    ...     Image.new("L", (8, 8), 255).save(f"{path}/1.png")
    ...     with tarfile.open(f"{path}/a.tar", "w") as file:
    ...         file.add(f"{path}/1.png", "0001.png")
    ...         info = tarfile.TarInfo("0001.cls")
    ...         info.size = 1
    ...         file.addfile(info, io.BytesIO(b"3"))
    ...     source = tar(f"{path}/a.tar")
    ...     example = source[0]
    >>> len(source), source.num_classes, example["x"].shape, int(example["label"])
    (1, 4, (8, 8, 1), 3)
    """
    return PictureSource(TarFiles(paths, SUFFIXES, "pictures", index_folder), size, mode)
