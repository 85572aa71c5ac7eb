"""Weights from the Hugging Face hub, downloaded when they are asked for by name, never otherwise."""

import hashlib
from pathlib import Path

from scorekit.io.files import as_path
from scorekit.io.reading import WEIGHTS

PREFIX = "hf:"
_SMALL, _LARGE = ["*.json", "*.safetensors"], ["*.json", "*.bin", "*.pt", "*.pth", "*.pkl"]


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with as_path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(name: str, revision: str | None = None) -> Path:
    """Downloads a repository ``hf:organisation/repository``, or one file of it, and prints the SHA-256 of the weights.

    The revision is a branch, tag or commit; a commit pins the weights.
    """
    parts = name.removeprefix(PREFIX).split("/")
    if not name.startswith(PREFIX) or len(parts) < 2 or not all(parts):
        raise ValueError(f"name must be hf:organisation/repository or a file in it, got {name!r}")
    try:
        import huggingface_hub  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("weights of the hub need the package huggingface_hub: pip install 'scorekit[hub]'") from error
    repository, file = "/".join(parts[:2]), "/".join(parts[2:])
    if file:
        found = Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
        print(f"{found}: sha256 {sha256(found)}", flush=True)
        return found
    for patterns in (_SMALL, _LARGE):  # files of pickles only where there are no others
        folder = Path(huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=patterns))
        weights = sorted(path for path in folder.rglob("*") if path.suffix in WEIGHTS)
        for path in weights:
            print(f"{path}: sha256 {sha256(path)}", flush=True)
        if weights:
            return folder
    raise ValueError(f"name must be of a repository with weights ({', '.join(WEIGHTS)}), got {name!r}")
