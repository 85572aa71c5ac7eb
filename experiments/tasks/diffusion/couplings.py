"""Couplings: which noise goes with which example."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from experiments.cli.choices import Choice, Choices
from scorekit import interpolants
from scorekit.arguments import Count
from scorekit.interpolants import couplings
from scorekit.training import optimal_assignment
from scorekit.typing import Array, Schedule


class Coupling(NamedTuple):
    """Which noise goes with which example.

    Attributes:
      noise: ``(schedule, x, eps, t, conditions) -> eps``, the noise of each example.
      starts_at_map: whether sampling starts at the dense map in place of noise.
    """

    noise: Callable[[Schedule, Array, Array, Array, Mapping[str, Any]], Array]
    starts_at_map: bool = False


def _transport(block_size: int, of_classes: bool, schedule, x, eps, t, given):
    del schedule, t
    labels = given["labels"] if of_classes else None
    return couplings.pair(x, eps, optimal_assignment, labels, block_size=block_size)


def _bridge(schedule, x, eps, t, given):
    return interpolants.bridge_noise(schedule, x, given["dense_map"].value, eps, t)


def _optimal_transport(label_dropout, block_size: Annotated[int, Count(1, 4096)] = 128) -> Coupling:
    """The optimal transport of each minibatch, within each class unless loss.label_dropout is 1.

    Args:
      block_size: examples that are paired with each other; the time grows like its cube.
    """
    return Coupling(functools.partial(_transport, block_size, label_dropout < 1))


TRANSPORT = "optimal_transport"
COUPLINGS = Choices(
    {
        "bridge": Choice(
            lambda: Coupling(_bridge, starts_at_map=True),
            "A diffusion bridge (I2SB) from the dense map, which is shaped like the example, in place of noise.",
        ),
        "independent": Choice(lambda: None, "Independent noise."),
        TRANSPORT: _optimal_transport,
    },
    "independent",
    """Which noise goes with which example: independent; the optimal transport of the batch, for straighter paths; or
    what leads to its dense map, where sampling starts then.""",
    ("label_dropout",),
)
