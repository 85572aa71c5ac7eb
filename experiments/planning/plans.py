"""The plan of a config for a topology, and the search for the smallest slice and the largest batch that fit."""

import sys
from collections.abc import Collection, Iterator
from typing import NamedTuple

from experiments import training
from experiments.cli.config import Config, ConfigError, changed, leaves
from experiments.data.dataset import Dataset
from experiments.planning import programs
from experiments.planning.chips import Topology, topology
from experiments.planning.costs import Cost, compile_cost


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


def make(
    config: Config, topology: Topology, dataset: Dataset, fast: bool, names: Collection[str] = programs.PROGRAMS
) -> Plan:
    """Lowers and compiles the programs of a config that are named; see the flag ``--fast``."""
    training.check_devices(config, topology.size)
    lowered = programs.lower(config, dataset, topology.devices(), topology.chip.memory, names)
    costs = {}
    for name, program in lowered.items():
        print(f"compiling {name} for {topology.name} …", file=sys.stderr, flush=True)
        costs[name] = compile_cost(program, topology, fast)
    return Plan(config, topology, costs)


def suggest(config: Config, given: Topology, dataset: Dataset, fast: bool) -> Plan:
    """The plan of training on the smallest slice, with the largest batch that fits there; prints each that is tried.

    Args:
      given: a topology of the chip; slices up to its size are tried.

    Raises:
      ConfigError: if the config fits none of them.
    """

    def tried(config: Config, slice_: Topology, changes: dict[str, object]) -> Plan:
        plan = make(changed(config, changes), slice_, dataset, fast, ("training",))
        fields = " ".join(f"--config.{field}={value}" for field, value in changes.items())
        print(f"{slice_.name} {fields}: {'fits' if plan.left >= 0 else 'does not fit'}", flush=True)
        return plan

    smallest = (tried(config, slice_, changes) for slice_, changes in _candidates(config, given))
    larger = next((plan for plan in smallest if plan.left >= 0), None)
    if larger is None:
        raise ConfigError(f"--topology={given.name}: the config fits no slice up to this one; use more chips")
    plan = larger
    while larger.left >= 0:
        plan, doubled = larger, {"training.batch_size": 2 * larger.config.training.batch_size}
        larger = tried(plan.config, plan.topology, doubled)
    before = dict(leaves(config))
    fields = [f"--config.{field}={value}" for field, value in leaves(plan.config) if before[field] != value]
    print(" ".join([f"suggested: --topology={plan.topology.name}", *fields]), flush=True)
    return plan


def _candidates(config: Config, given: Topology) -> Iterator[tuple[Topology, dict[str, object]]]:
    """From the fewest chips, rematerialisation off, then on, and one copy a chip, then one for all chips."""
    slices = [topology(f"{given.kind}:{shape}") for shape in given.chip.shapes]
    for slice_ in [*(each for each in slices if each.size < given.size), given]:
        if config.training.batch_size // config.training.accumulate % slice_.size == 0:
            for remat in (False, True) if "remat" in config.get("network", {}) else (None,):
                for fsdp in dict.fromkeys((1, slice_.size)):
                    changes = {} if remat is None else {"network.remat": remat}
                    yield slice_, {**changes, "training.fsdp": fsdp}
