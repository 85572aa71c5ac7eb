"""Small networks of ``scorekit.networks.DENOISING`` with all conditions, for tests that run on each of them."""

import collections
import dataclasses

import jax

from scorekit import networks

CLASSES, BATCH = 3, 4
SIDES = {0: (), 1: (8,), 2: (4, 4)}
MAP_SHAPES = {0: (3,), 1: (4, 1), 2: (2, 2, 1)}
SMALL = {"features": 16, "channels": 8, "blocks": 1, "layers": 2, "cycle": 2, "depth": 2, "width": 16, "heads": 2}
SIZES = {
    "EDM2": {"multipliers": (1,), "head_channels": 8},
    "ResidualUNet": {"multipliers": (1,), "blocks": 0},
    "SongUNet": {"multipliers": (1,)},
}
DENOISING = [getattr(networks, name) for name in networks.DENOISING]
CASES = {f"{network.__name__}-{axes}d": (network, axes, {}) for network in DENOISING for axes in network.spatial_axes}
PLAIN = {"film": "zero_shift", "residual_resampling": False, "symmetric_padding": False, "attention_levels": (1,)}
PLAIN |= {"cosine_first": False, "frequency_shift": 1.0, "input_octaves": (0,), "multipliers": (1, 2), "blocks": 1}
PLAIN |= {"noise_scale": 1.0, "log_snr_range": (-6.0, 6.0)}
CASES["ResidualUNet-2d, as DDPM and VDM"] = networks.ResidualUNet, 2, PLAIN
"""The class, the number of spatial axes, and attributes."""


def build(network, axes, options, **more):
    """A small instance with all conditions; sizes are set where the class has an attribute of the name."""
    names = {field.name for field in dataclasses.fields(network)}
    sizes = {"num_classes": CLASSES, "vector_size": 2, "map_shape": MAP_SHAPES[axes]}
    small = {name: size for name, size in SMALL.items() if name in names} | SIZES.get(network.__name__, {})
    return network(**{**small, **sizes, **options, **more})


def operations(jaxpr):
    """Counts of the operations of a program, with those inside of what it calls."""
    found = collections.Counter()
    for equation in jaxpr.eqns:
        inner = [part for value in equation.params.values() for part in jax.tree.leaves(value, is_leaf=is_program)]
        inner = [getattr(part, "jaxpr", part) for part in inner if is_program(part)]
        if "prevent_cse" in equation.params:
            found["rematerialised"] += 1
        elif not inner:
            found[str(equation.primitive)] += 1
        for part in inner:
            found += operations(part)
    return found


def is_program(value):
    return hasattr(value, "eqns") or hasattr(getattr(value, "jaxpr", None), "eqns")
