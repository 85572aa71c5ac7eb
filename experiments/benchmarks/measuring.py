"""Measuring two programs in turns, and counting the operations of one."""

import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax


class Timing(NamedTuple):
    """Medians over repetitions: of the ratio within one, and of the seconds of each side."""

    ratio: float
    ours: float
    theirs: float


def in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], turns: int, clock: Callable[[], float] = time.perf_counter
) -> Timing:
    """Runs both sides in every repetition, in alternating order, so that a shared machine slows both alike.

    ``clock=time.process_time`` counts the time of all cores and leaves out that of other programs.
    """
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(turns):
        for name, run in (("ours", ours), ("theirs", theirs)) if turn % 2 else (("theirs", theirs), ("ours", ours)):
            start = clock()
            jax.block_until_ready(run())
            seconds[name].append(clock() - start)
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    return Timing(statistics.median(ratios), *map(statistics.median, seconds.values()))


def flops(jaxpr: Any) -> float:
    """Twice the multiplications of matrix products and convolutions; the body of a scan counts as often as it runs."""
    total = 0.0
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name == "dot_general":
            (contracted, _), _ = parameters["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            total += 2 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
        elif name == "conv_general_dilated":
            kernel, features = equation.invars[1].aval.shape, parameters["dimension_numbers"].rhs_spec[0]
            total += 2 * equation.outvars[0].aval.size * math.prod(kernel) / kernel[features]
        times = parameters["length"] if name == "scan" else 1
        total += times * sum(flops(inner) for inner in _inner_jaxprs(parameters))
    return total


def _inner_jaxprs(parameters: dict[str, Any]) -> Iterator[Any]:
    for value in parameters.values():
        inner = getattr(value, "jaxpr", value)
        if hasattr(inner, "eqns"):
            yield inner
