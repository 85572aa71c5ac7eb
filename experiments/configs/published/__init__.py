"""Recipes of published results. The docstring of each has the published figures and the differences.

None has been trained to its end here: no accelerator was at hand.

"From memory" marks a number that was not looked up again when the recipe was written.
"""

from typing import Any, cast

import flax.linen as nn

from experiments.cli.config import Config
from experiments.configs.base import one_scale


def use_preset(config: Config, kind: type[nn.Module], name: str) -> None:
    """Sets ``config.network`` to a published network: what its preset changes, but not what the data decide."""
    network, default = cast(Any, kind).preset(name), kind()
    config.network.name = kind.__name__.lower()
    for field in config.network:
        if hasattr(default, field) and getattr(network, field) != getattr(default, field):
            config.network[field] = getattr(network, field)


def conditional(config: Config) -> None:
    """Drops no label, and samples without guidance."""
    config.loss.label_dropout = 0.0
    one_scale(config)


def imagenet(config: Config, size: int) -> None:
    """The folders ``train`` and ``val`` of ImageNet, one folder a class: middle squares of this side."""
    config.data.update(name="folder", path="~/imagenet", test_split="val", image_size=size, image_mode="RGB")
