"""Costs of a compiled program for each chip, and bounds of its time from the published speeds of chips."""

import re
import time
import warnings
from typing import Any, NamedTuple

import jax

from experiments.planning.chips import Chip, Topology
from experiments.planning.hlo import Collective, Program
from experiments.planning.programs import Lowered


class Cost(NamedTuple):
    """The cost of a program for each chip.

    Attributes:
      state: bytes that stay between calls.
      temporary: bytes that the program needs while it runs.
      other: bytes of batch and results.
      code: bytes of the program itself.
      flops: operations of all chips.
      memory: bytes that are read from and written to main memory; None where the compiler does not say.
      near: bytes sent over the fast links, by kind of collective.
      far: bytes sent over the network between slices or machines, by kind.
      overlapping: the bytes among these that are sent while the chip computes.
      examples: examples of a call.
      evaluations: evaluations of the network, one after the other.
      parameters: number of parameters.
      seconds: seconds of compilation.
      needed: bytes that the compiler asked for when it gave up; None where it did not.
    """

    state: float
    temporary: float
    other: float
    code: float
    flops: float
    memory: float | None
    near: dict[str, float]
    far: dict[str, float]
    overlapping: float
    examples: int
    evaluations: int
    parameters: int
    seconds: float
    needed: float | None = None

    @property
    def total(self) -> float:
        """Bytes of a chip."""
        return self.needed or self.state + self.temporary + self.other + self.code


_SIZES = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "": 1}


def compile_cost(lowered: Lowered, topology: Topology, fast: bool = False) -> Cost:
    """Compiles a program for a described topology and reads its costs.

    With ``fast`` the compiler of TPUs spends the least effort, for convolutions a tenth of the time: programs need more
    memory and move more bytes than those that run.
    """
    quick = {"exec_time_optimization_effort": -1.0} if fast else {}
    options = quick if topology.chip.platform == "tpu" else {"xla_gpu_enable_triton_gemm": False}
    try:
        return _cost(lowered, topology, options)
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        warnings.warn(f"--fast is left out: this compiler has no option {next(iter(options))}", stacklevel=2)
        return _cost(lowered, topology)


def _cost(lowered: Lowered, topology: Topology, options: Any = None) -> Cost:
    """The costs of the compiled program; one that the compiler finds too large has ``needed``."""
    start = time.monotonic()
    try:
        compiled = lowered.program.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        needed, seconds = _needed(str(error)), time.monotonic() - start
        if needed is None:
            raise
        return too_large(lowered, needed, seconds)
    seconds, sizes, text = time.monotonic() - start, compiled.memory_analysis(), compiled.as_text()
    assert sizes is not None
    assert text is not None
    program = Program(text)
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    near, far, overlapping = traffic(program.collectives(), topology)
    return Cost(
        lowered.state, sizes.temp_size_in_bytes, max(kept - lowered.state, 0), sizes.generated_code_size_in_bytes,
        lowered.flops, program.memory_bytes(), near, far, overlapping, lowered.examples, lowered.evaluations,
        lowered.parameters, seconds,
    )  # fmt: skip


def too_large(lowered: Lowered, needed: float, seconds: float = 0.0) -> Cost:
    """The costs of a program that needs more bytes than a chip has."""
    counts = lowered.examples, lowered.evaluations, lowered.parameters
    return Cost(lowered.state, 0, 0, 0, lowered.flops, None, {}, {}, 0, *counts, seconds, needed)


def _needed(error: str) -> float | None:
    """The bytes that a compiler asks for in vain, of its error.

    >>> _needed("RESOURCE_EXHAUSTED: ... Used 18.5G of 15.75G hbm.") == 18.5 * 2**30
    True
    >>> _needed("... the total memory required for HLO temporaries (17G) exceeds available HBM (15.75G).") / 2**30
    17.0
    """
    found = re.search(r"(?:Used|temporaries) \(?([\d.]+)([KMGT]?)\)? (?:of|exceeds)", error)
    return float(found[1]) * _SIZES[found[2]] if found else None


def traffic(collectives: list[Collective], topology: Topology) -> tuple[dict[str, float], dict[str, float], float]:
    """Bytes that a chip sends over fast links and over the network, by kind, and the overlapping bytes of both.

    Devices are numbered slice by slice. Where a group has g chips of each of s slices, a reduction or gathering of
    n bytes needs n (g - 1) / g of the links and n (s - 1) / (g s) of the network.

    >>> from experiments.planning.chips import topology
    >>> one = Collective("all-gather", 8.0, 1, True, ((*range(16),),))
    >>> traffic([one], topology("h100:16"))
    ({'all-gather': 7.0}, {'all-gather': 0.5}, 7.5)
    """
    near, far, overlapping = dict[str, float](), dict[str, float](), 0.0
    for one in collectives:
        group = one.groups[0] if one.groups else tuple(range(topology.size))
        size, slices = len(group), len({device // topology.near for device in group})
        inside = size // slices
        if size < 2:
            continue
        parts = one.moved * (inside - 1) / inside, one.moved * (slices - 1) / slices / inside
        if one.kind == "collective-permute":
            parts = (one.moved, 0.0) if slices == 1 else (0.0, one.moved)
        for by_kind, sent in zip((near, far), parts, strict=True):
            if sent:
                by_kind[one.kind] = by_kind.get(one.kind, 0.0) + sent
        overlapping += sum(parts) if one.overlaps else 0.0
    return near, far, overlapping


class Bound(NamedTuple):
    """Least seconds of a call: of the products, of main memory, of the links and of the network.

    Each bound holds alone. :attr:`seconds` is the largest of them.
    """

    products: float
    memory: float
    links: float
    network: float

    @property
    def seconds(self) -> float:
        """The least time of a call."""
        return max(self)

    @property
    def binds(self) -> str:
        """The name of the largest bound."""
        return self._fields[self.index(self.seconds)]


def bound(cost: Cost, chip: Chip, chips: int, dtype: str | None) -> Bound:
    """The bounds of a program on a number of chips, with products in a dtype."""
    return Bound(
        cost.flops / (chips * chip.peak_of(dtype)),
        (cost.memory or 0.0) / chip.bandwidth,
        sum(cost.near.values()) / chip.link,
        sum(cost.far.values()) / chip.network,
    )
