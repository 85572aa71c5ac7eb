"""The memory of a compiled program on each chip, and the least time of its products from the published speed."""

import re
import warnings
from typing import Any, NamedTuple

import jax

from experiments.planning.chips import Chip, Topology
from experiments.planning.programs import Lowered


class Cost(NamedTuple):
    """The cost of a program for each chip, in bytes.

    ``temporary`` are needed while it runs, ``other`` are batch and results, ``code`` is the program itself. Where the
    compiler gives up, ``needed`` is its need and the only number.
    """

    lowered: Lowered
    temporary: float = 0
    other: float = 0
    code: float = 0
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
    sizes = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    other = max(kept - lowered.state, 0)
    return Cost(lowered, sizes.temp_size_in_bytes, other, sizes.generated_code_size_in_bytes)


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


def least_seconds(cost: Cost, chip: Chip, chips: int, dtype: str | None) -> float:
    """Least time of a call on so many chips, with products in a dtype."""
    return cost.lowered.flops / (chips * chip.peak_of(dtype))
