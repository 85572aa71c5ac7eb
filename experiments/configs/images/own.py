r"""Your own images, in a folder or in a subfolder for each class: network and training are chosen for them.

    python -m experiments.train --config=experiments/configs/images/own.py:~/pictures --workdir=runs/own
    python -m experiments.train --config=experiments/configs/images/own.py:~/pictures,32 --workdir=runs/own \
        --config.training.steps=5000

The argument is the folder and the side of the images in pixels, by default one that 95 % of them have, at most 64;
--config.data.image_size=… also enlarges.
Network, batch, precision, steps, learning rate and average are chosen for the number and size of the images and the
device when training starts (:mod:`experiments.tasks.diffusion.own_images`), printed with the reasons, and kept in
``config.json``: a run that continues has those that it began with. A field on the command line wins over the choice.
"""

from pathlib import Path

from experiments import tasks
from experiments.cli.config import ConfigError, require
from experiments.data.images import Folder
from experiments.tasks.diffusion import own_images

LARGEST = 64
"""Most pixels a side that are chosen."""


def get_config(argument=""):
    before, comma, size = argument.rpartition(",")
    is_folder = Path(argument).expanduser().is_dir()
    folder, size = (before, size) if comma and not is_folder else (argument, "")
    if not folder:
        raise ConfigError(
            "--config=experiments/configs/images/own.py: must be followed by :<folder>[,<side in pixels>]"
        )
    images = Folder(path=folder, image_size=LARGEST, image_mode="RGB")
    largest, mode = images.common()
    side = min(largest, LARGEST) // 4 * 4 if not size else int(size) if size.isdecimal() else size
    allowed = f"a multiple of 4 from 8 to {largest}, the side that 95 % of the images in {folder} have"
    require(side in range(8, largest + 1, 4), "data.image_size", side, allowed)
    config = own_images.unset(tasks.named("diffusion").fields()).defaults()
    label = "class" if images.num_classes > 1 else "none"
    config.data.update(name="folder", path=folder, image_size=side, image_mode=mode, label=label)
    return config
