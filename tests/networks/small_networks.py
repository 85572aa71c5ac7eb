"""Small networks of ``scorekit.networks.DENOISING`` with all conditions, for tests that run on each of them."""

import dataclasses

from scorekit import networks

CLASSES, BATCH = 3, 4
SIDES = {0: (), 1: (8,), 2: (4, 4)}
MAP_SHAPES = {0: (3,), 1: (4, 1), 2: (2, 2, 1)}
SMALL = {"features": 16, "channels": 8, "blocks": 1, "layers": 2, "cycle": 2, "depth": 2, "width": 16, "heads": 2}
SIZES = {
    "ADM": {"multipliers": (1,), "blocks": 0},
    "EDM2": {"multipliers": (1,), "head_channels": 8},
    "SongUNet": {"multipliers": (1,)},
}
DENOISING = [getattr(networks, name) for name in networks.DENOISING]
CASES = {f"{network.__name__}-{axes}d": (network, axes) for network in DENOISING for axes in network.spatial_axes}


def build(network, axes, **options):
    """A small instance with all conditions; sizes are set where the class has an attribute of the name."""
    names = {field.name for field in dataclasses.fields(network)}
    sizes = {"num_classes": CLASSES, "vector_size": 2, "map_shape": MAP_SHAPES[axes]}
    small = {name: size for name, size in SMALL.items() if name in names} | SIZES.get(network.__name__, {})
    return network(**{**small, **sizes, **options})
