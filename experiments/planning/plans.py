"""The plan of a config for a topology: the memory of its programs on each chip and the least time of products."""

import re
import sys
from typing import Any, NamedTuple

import jax

from experiments import training
from experiments.cli.config import Config
from experiments.data.dataset import Dataset
from experiments.planning.chips import Chip, Topology
from experiments.planning.programs import Lowered, lower


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

    def least_seconds(self, chip: Chip, chips: int, dtype: str | None) -> float:
        """Least time of a call on so many chips, with products in a dtype."""
        return self.lowered.flops / (chips * chip.peak_of(dtype))


def compile_cost(lowered: Lowered, topology: Topology, fast: bool = False) -> Cost:
    """Compiles a program for a described topology and reads its costs; for ``fast`` see :mod:`experiments.plan`."""
    if lowered.state > topology.chip.memory:
        return Cost(lowered, needed=lowered.state)
    options: Any = {"exec_time_optimization_effort": -1.0} if fast else {}
    if topology.chip.platform == "cuda":  # its tuning would run kernels on a device
        options = {"xla_gpu_enable_triton_gemm": False}
    try:
        compiled: Any = lowered.program.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        if (needed := _needed(str(error))) is None:
            raise
        return Cost(lowered, needed=needed)
    sizes = compiled.memory_analysis()
    kept = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    other = max(kept - lowered.state, 0)
    return Cost(lowered, sizes.temp_size_in_bytes, other, sizes.generated_code_size_in_bytes)


def _needed(error: str) -> float | None:
    """The bytes that a compiler asks for in vain, of its error.

    >>> _needed("RESOURCE_EXHAUSTED: ... Used 18.5G of 15.75G hbm.") == 18.5 * 2**30
    True
    >>> _needed("... the total memory required for HLO temporaries (17G) exceeds available HBM (15.75G).") / 2**30
    17.0
    """
    used = re.search(r"(?:Used|temporaries) \(?([\d.]+)([KMGT]?)\)? (?:of|exceeds)", error)
    return float(used[1]) * 1024 ** " KMGT".index(used[2] or " ") if used else None


class Plan(NamedTuple):
    """The costs of a config on a topology, by program: ``training``, and ``sampling`` where there is a sampler."""

    config: Config
    topology: Topology
    costs: dict[str, Cost]

    @property
    def left(self) -> float:
        """Bytes of a chip that the largest program leaves; negative where it does not fit."""
        return self.topology.chip.memory - max(cost.total for cost in self.costs.values())

    @property
    def dtype(self) -> str:
        """The dtype of products."""
        sections = (self.config.get(name, {}) for name in ("network", "dual_encoder", "autoencoder", "classifier"))
        return next((dtype for section in sections if (dtype := section.get("dtype"))), "float32")


def make(config: Config, topology: Topology, dataset: Dataset, fast: bool) -> Plan:
    """Lowers and compiles the programs of a config; see the flag ``--fast``."""
    training.check_devices(config, topology.size)
    lowered = lower(config, dataset, topology.devices(), topology.chip.memory)
    costs = {}
    for name, program in lowered.items():
        print(f"compiling {name} for {topology.name} …", file=sys.stderr, flush=True)
        costs[name] = compile_cost(program, topology, fast)
    return Plan(config, topology, costs)
