"""Statistics of the Inception features of real images, to compare samples with.

    python -m experiments.projects.published.reference_statistics --data=cifar10 \\
        --weights=inception.safetensors --out=cifar10.npz
    python -m experiments.projects.published.reference_statistics --data=pictures/ --size=64 --resize=clean \\
        --weights=… --out=…

``--data`` is a folder of pictures or the name of a TFDS set. Writes the layout of EDM (``mu``, ``sigma``) with the
fields of ADM for the sFID (``mu_s``, ``sigma_s``), the number of images, how they were resized, the checksum of the
weights, and the features of the first ``--features`` images, for KID, precision and recall.
"""

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import ConfigError
from experiments.data.builders import DATA_DIR, register
from experiments.tasks.diffusion.metrics.fid import KEPT
from experiments.tasks.diffusion.metrics.inception import ROWS, Extractor, reference_of, to_bytes, write_reference
from scorekit import data
from scorekit.metrics import CONVENTIONS, Convention

_DATA = flags.DEFINE_string("data", None, "A folder of images, or the name of a TFDS set of images.", required=True)
_SPLIT = flags.DEFINE_string("split", "train", "Split of a TFDS set.")
_DATA_DIR = flags.DEFINE_string("data_dir", DATA_DIR, "Directory of TFDS sets.")
_SIZE = flags.DEFINE_integer("size", None, "Side to which the middle square of each image of a folder is resized.")
_WEIGHTS = flags.DEFINE_string("weights", None, "File of the weights of the Inception network.", required=True)
_RESIZE = flags.DEFINE_enum("resize", "tf1", CONVENTIONS, "How images are resized for the network.")
_FEATURES = shared.count("features", KEPT, "Images whose features are written, the first ones.", lower_bound=0)
_OUT = shared.out("The .npz file to write.", required=True)
_THREADS = 4


def opened() -> Any:
    """The source of images."""
    try:
        if Path(_DATA.value).expanduser().is_dir():
            return data.folder(_DATA.value, size=_SIZE.value)
        register(_DATA.value)
        return data.open_images(_DATA.value, _SPLIT.value, _DATA_DIR.value)
    except ValueError as error:
        raise ConfigError(f"--data={_DATA.value}: {error}") from error


def batches(source: Any) -> Iterator[np.ndarray]:
    """All images as uint8, in their order, with a progress bar."""
    size = ROWS // 16
    bins = getattr(source, "bins", 256)
    with (
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
        progress.Progress(-(-len(source) // size), batch_size=size, label="features", unit="images") as bar,
    ):
        for i, start in enumerate(range(0, len(source), size), 1):
            rows = range(start, min(start + size, len(source)))
            images = np.stack([example["x"] for example in pool.map(source.__getitem__, rows)])
            yield images if bins == 256 else to_bytes(data.to_unit(images, bins))
            bar.update(i)


def main(_) -> Path:
    if shared.path(_OUT).suffix != ".npz":
        raise ConfigError(f"--out={_OUT.value}: must end in .npz")
    out = shared.results(_OUT, None, "")
    source = opened()
    if len(source) < 2:
        raise ConfigError(f"--data={_DATA.value}: must hold at least 2 images, got {len(source)}")
    given = f"--weights={_WEIGHTS.value}"
    extract = Extractor(_WEIGHTS.value, cast(Convention, _RESIZE.value), given)
    try:
        reference = reference_of(extract, batches(source), _FEATURES.value, source.name)
    except ValueError as error:
        raise ConfigError(f"--data={_DATA.value}: {error}") from error
    path = write_reference(out, reference, extract)
    print(f"{len(source):,} images, resize {extract.convention}, weights {extract.checksum}")
    return path


if __name__ == "__main__":
    command_line.run(main)
