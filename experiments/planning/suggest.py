"""The smallest slice that a config trains on, and the largest batch and the least rematerialisation that fit there."""

from collections.abc import Callable, Iterator

from experiments.cli.config import Config, ConfigError, changed, leaves
from experiments.data.dataset import Dataset
from experiments.planning import plans
from experiments.planning.chips import Topology, topology
from experiments.planning.plans import Plan

TRAINING = ("training",)


def suggest(config: Config, given: Topology, dataset: Dataset, tell: Callable[[str], None], fast: bool) -> Plan:
    """The plan of a config with the fields that this module chooses; ``tell`` receives a line for each that is tried.

    Args:
      given: a topology of the chip; slices up to its size are tried.

    Raises:
      ConfigError: if it fits none of them.
    """
    found = next((plan for plan in _smallest(config, given, dataset, tell, fast) if plan.left >= 0), None)
    if found is None:
        raise ConfigError(f"--topology={given.name}: the config fits no slice up to this one; use more chips")
    found, before = _largest_batch(found, dataset, tell, fast), dict(leaves(config))
    fields = [f"--config.{field}={value}" for field, value in leaves(found.config) if before[field] != value]
    tell(" ".join([f"suggested: --topology={found.topology.name}", *fields]))
    return found


def _shapes(given: Topology) -> list[Topology]:
    found = [topology(f"{given.kind}:{shape}") for shape in given.chip.shapes]
    return [one for one in found if one.size < given.size] + [given]


def _smallest(
    config: Config, given: Topology, dataset: Dataset, tell: Callable[[str], None], fast: bool
) -> Iterator[Plan]:
    """Plans from the fewest chips: with rematerialisation off, then on; one copy a chip, then one for all chips."""
    per_step = config.training.batch_size // config.training.accumulate
    for one in _shapes(given):
        if per_step % one.size:
            continue
        for changes in _choices(config, one.size):
            yield _tried(config, changes, one, dataset, tell, fast)


def _choices(config: Config, chips: int) -> Iterator[dict[str, object]]:
    off = _with_remat(config, False)
    for remat in [off, _with_remat(config, True)] if off else [{}]:
        for fsdp in dict.fromkeys((1, chips)):
            yield {**remat, "training.fsdp": fsdp}


def _with_remat(config: Config, value: bool) -> dict[str, object]:
    return {"network.remat": value} if "remat" in config.get("network", {}) else {}


def _largest_batch(plan: Plan, dataset: Dataset, tell: Callable[[str], None], fast: bool) -> Plan:
    """The plan with the batch doubled as long as it fits."""
    while True:
        larger = {"training.batch_size": 2 * plan.config.training.batch_size}
        found = _tried(plan.config, larger, plan.topology, dataset, tell, fast)
        if found.left < 0:
            return plan
        plan = found


def _tried(config: Config, changes: dict[str, object], one: Topology, dataset: Dataset, tell, fast: bool) -> Plan:
    plan = plans.make(changed(config, changes), one, dataset, TRAINING, fast)
    fits = "fits" if plan.left >= 0 else "does not fit"
    tell(f"{one.name} {' '.join(f'--config.{field}={value}' for field, value in changes.items())}: {fits}")
    return plan
