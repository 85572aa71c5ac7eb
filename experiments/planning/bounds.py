"""Costs of a compiled program for each chip, and bounds of its time from the published speeds of chips."""

import re
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from experiments.planning.chips import Chip, Topology
from experiments.planning.hlo import Collective, Program
from experiments.planning.programs import Lowered


class Cost(NamedTuple):
    """The cost of a program for each chip, in bytes.

    ``temporary`` are needed while it runs, ``other`` are batch and results, ``code`` is the program itself, ``memory``
    are read from and written to main memory, ``near`` and ``far`` are sent over fast links and over the network between
    slices or machines, by kind of collective. Where the compiler gives up, ``needed`` is its need and the only number.
    """

    lowered: Lowered
    temporary: float = 0
    other: float = 0
    code: float = 0
    memory: float = 0
    near: Mapping[str, float] = MappingProxyType({})
    far: Mapping[str, float] = MappingProxyType({})
    needed: float | None = None

    @property
    def total(self) -> float:
        """Bytes of a chip."""
        return self.needed or self.lowered.state + self.temporary + self.other + self.code


def compile_cost(lowered: Lowered, topology: Topology, fast: bool = False) -> Cost:
    """Compiles a program for a described topology and reads its costs; for ``fast`` see :mod:`experiments.plan`."""
    if lowered.state > topology.chip.memory:
        return Cost(lowered, needed=lowered.state)
    try:
        compiled = _compiled(lowered, topology, fast)
    except jax.errors.JaxRuntimeError as error:
        if (needed := _needed(str(error))) is None:
            raise
        return Cost(lowered, needed=needed)
    sizes, program = compiled.memory_analysis(), Program(compiled.as_text())
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return Cost(
        lowered,
        sizes.temp_size_in_bytes,
        max(kept - lowered.state, 0),
        sizes.generated_code_size_in_bytes,
        program.memory_bytes(),
        *traffic(program.collectives(), topology),
    )


def _compiled(lowered: Lowered, topology: Topology, fast: bool) -> Any:
    options: Any = {"exec_time_optimization_effort": -1.0} if fast else {}
    if topology.chip.platform != "tpu":
        options = {"xla_gpu_enable_triton_gemm": False}
    try:
        return lowered.program.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        warnings.warn(f"this compiler has no option {next(iter(options))}, which is left out", stacklevel=2)
        return lowered.program.compile()


def _needed(error: str) -> float | None:
    """The bytes that a compiler asks for in vain, of its error.

    >>> _needed("RESOURCE_EXHAUSTED: ... Used 18.5G of 15.75G hbm.") == 18.5 * 2**30
    True
    >>> _needed("... the total memory required for HLO temporaries (17G) exceeds available HBM (15.75G).") / 2**30
    17.0
    """
    used = re.search(r"(?:Used|temporaries) \(?([\d.]+)([KMGT]?)\)? (?:of|exceeds)", error)
    return float(used[1]) * 1024 ** " KMGT".index(used[2] or " ") if used else None


def traffic(collectives: list[Collective], topology: Topology) -> tuple[dict[str, float], dict[str, float]]:
    """Bytes that a chip sends over fast links and over the network, by kind of collective.

    Devices are numbered slice by slice. Where a group has g chips of each of s slices, a reduction or gathering of
    n bytes needs n (g - 1) / g of the links and n (s - 1) / (g s) of the network.

    >>> from experiments.planning.chips import topology
    >>> traffic([Collective("all-gather", 8.0, 1, ((*range(16),),))], topology("h100:16"))
    ({'all-gather': 7.0}, {'all-gather': 0.5})
    """
    near, far = dict[str, float](), dict[str, float]()
    for one in collectives:
        group = one.groups[0] if one.groups else tuple(range(topology.size))
        slices = len({device // topology.near for device in group})
        inside = len(group) // slices
        parts = one.moved * (inside - 1) / inside, one.moved * (slices - 1) / slices / inside
        if one.kind == "collective-permute":
            parts = (one.moved, 0.0) if slices == 1 else (0.0, one.moved)
        for by_kind, sent in zip((near, far), parts, strict=True):
            if sent:
                by_kind[one.kind] = by_kind.get(one.kind, 0.0) + sent
    return near, far


def bounds(cost: Cost, chip: Chip, chips: int, dtype: str | None) -> dict[str, float]:
    """Least seconds of a call on so many chips, with products in a dtype; each holds alone, and the largest binds."""
    return {
        "products": cost.lowered.flops / (chips * chip.peak_of(dtype)),
        "memory": cost.memory / chip.bandwidth,
        "links": sum(cost.near.values()) / chip.link,
        "network": sum(cost.far.values()) / chip.network,
    }
