"""Images a second that one core delivers, and the cores that feed the planned training step of recipes.

Pictures made here, JPEG as large as those of ImageNet and PNG of 32 x 32, are read from tar and from array_record as in
training: decoded, resized, flipped, in batches. The time of all threads counts, so that other programs do not. A recipe
of a folder of pictures reads these JPEGs, with its own size and augmentation; other images and latents are in memory.
"""

import contextlib
import io
import math
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from experiments import tasks
from experiments.cli import command_line
from experiments.cli.config import Config, changed
from experiments.cli.progress import human
from experiments.configs import base
from experiments.data.dataset import Dataset
from experiments.planning import plans
from experiments.planning.bounds import bound
from experiments.planning.chips import topology
from experiments.planning.described import describe
from experiments.planning.report import UTILISATION

SIDES = {"JPEG": 448, "PNG": 32}
"""Sides of the pictures: 200,000 pixels, and the images of CIFAR-10."""
COUNT = 64
SECONDS = 3.0


def pictures(kind: str) -> list[bytes]:
    """Files of pictures that are as hard to compress as photographs."""
    rng, found, side = np.random.default_rng(0), [], SIDES[kind]
    for _ in range(COUNT):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)).resize((side, side))
        noisy = (np.asarray(coarse) + rng.normal(0.0, 8.0, (side, side, 3))).clip(0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(file := io.BytesIO(), kind, quality=90)
        found.append(file.getvalue())
    return found


def write_tar(path: Path, kind: str) -> None:
    """A tar file of these pictures."""
    with tarfile.open(path, "w") as file:
        for i, content in enumerate(pictures(kind)):
            info = tarfile.TarInfo(f"{i:04}.{kind.lower()}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def register() -> None:
    """Registers the same pictures as sets of TFDS, ``benchmark_pictures/JPEG`` and ``benchmark_pictures/PNG``."""
    import tensorflow_datasets as tfds

    class BenchmarkPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=kind) for kind in SIDES]  # noqa: RUF012

        @property
        def kind(self) -> str:
            return str(self.builder_config and self.builder_config.name)

        def _info(self):
            shape, encoding = (SIDES[self.kind], SIDES[self.kind], 3), self.kind.lower()
            image = tfds.features.Image(shape=shape, encoding_format=encoding)
            features = {"image": image, "label": tfds.features.ClassLabel(num_classes=1)}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in ("train", "test")}

        def _generate_examples(self):
            for i, content in enumerate(pictures(self.kind)):
                yield i, {"image": io.BytesIO(content), "label": 0}


def per_core(dataset: Dataset, size: int = 64) -> float:
    """Examples a second of one core, in batches of ``size``."""
    with contextlib.closing(dataset.batches(0, 0, size)) as batches:
        for _ in range(3):  # threads begin, functions are compiled
            next(batches)
        start, count = time.process_time(), 0
        while time.process_time() - start < SECONDS:
            next(batches)
            count += size
        return count / (time.process_time() - start)


def opened(config: Config, folder: Path) -> Dataset:
    """The data of a recipe: pictures made here in place of a folder of pictures, or the data that a plan describes."""
    if config.data.name in ("folder", "tar") and not config.data.get("latents"):
        path = str(folder / "JPEG.tar")
        config = changed(config, {"data.name": "tar", "data.path": path, "data.streaming": True})
        return tasks.of(config).load(config)
    return describe(config)[0]


def sentence(rate: float, plan: plans.Plan) -> str:
    """How many cores, of which each delivers ``rate`` examples a second, feed a planned training step."""
    cost, chips = plan.costs["training"], plan.topology.size
    if cost.needed is not None:
        return f"{plan.topology.name}: does not fit"
    most = cost.examples / bound(cost, plan.topology.chip, chips, plan.dtype).seconds
    cores, usual = (math.ceil(taken / rate) for taken in (most, UTILISATION * most))
    return (
        f"{plan.topology.name} takes {human(most)}/s at its bound, which {cores:,} {_cores(cores)}, and "
        f"{human(UTILISATION * most)}/s at {UTILISATION:.0%} of it, which {usual:,} {_cores(usual)}"
    )


def _cores(number: int) -> str:
    return "core feeds" if number == 1 else "cores feed"


def run(options: flags.FlagValues) -> None:
    """Prints the rates of the four kinds of files, then those of recipes and the cores that feed them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        register()
        for kind in SIDES:
            write_tar(folder / f"{kind}.tar", kind)
            size = 64 if kind == "JPEG" else None
            data: dict[str, Any] = {"data.image_size": size, "data.augment": "flip", "data.streaming": True}
            files = {"tar": {"data.name": "tar", "data.path": str(folder / f"{kind}.tar")}}
            files["array_record"] = {"data.name": f"benchmark_pictures/{kind}", "data.data_dir": name}
            for container, fields in files.items():
                config = changed(base.get_config(), {**data, **fields})
                rate = per_core(tasks.of(config).load(config))
                print(f"{kind} of {SIDES[kind]} x {SIDES[kind]} in {container}: {human(rate)}/s a core", flush=True)
        for path in options.recipes:
            config = command_line.load_config(path)
            rate = per_core(opened(config, folder))
            print(f"{Path(path).stem}: {human(rate)}/s a core", flush=True)
            for one in map(topology, options.topologies):
                plan = plans.make(config, one, describe(config)[0], ("training",))
                print(f"  {sentence(rate, plan)}", flush=True)
