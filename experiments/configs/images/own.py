r"""Your own images, in a folder or in a subfolder for each class: network and training are chosen for them.

    python -m experiments.train --config=experiments/configs/images/own.py:~/pictures --workdir=runs/own
    python -m experiments.train --config=experiments/configs/images/own.py:~/pictures,32 --workdir=runs/own \
        --config.training.steps=5000

The argument is the folder and the side of the images in pixels, by default one that 95 % of them have, at most 64.
Network, batch, precision, steps, learning rate and average are chosen for the number and size of the images and the
device when training starts (:mod:`experiments.tasks.diffusion.own_images`), printed with the reasons, and kept in
``config.json``: a run that continues has those that it began with. A field on the command line wins over the choice.
"""

from experiments import tasks
from experiments.cli.config import ConfigError, require
from experiments.data.images import Folder
from experiments.tasks.diffusion import own_images


def get_config(argument=""):
    folder, comma, size = argument.rpartition(",")
    if not (comma and size.isdecimal()):
        folder, size = argument, ""
    if not folder:
        raise ConfigError(
            "--config=experiments/configs/images/own.py: must be followed by :<folder>[,<side in pixels>]"
        )
    images = Folder(path=folder, image_size=64, image_mode="RGB")
    side, mode = images.common()
    side = int(size or side)
    require(side >= 8 and side % 4 == 0, "data.image_size", side, "a multiple of 4, at least 8")
    config = own_images.unset(tasks.named("diffusion").fields()).defaults()
    label = "class" if images.num_classes > 1 else "none"
    config.data.update(name="folder", path=folder, image_size=side, image_mode=mode, label=label)
    return config
