"""A plan for people: whether it fits, its costs and the least time of its products."""

from collections.abc import Callable

from experiments.cli.progress import human
from experiments.planning.plans import Cost, Plan
from experiments.training import sharing

EVALUATIONS = (50, 25, 4, 1)
"""Evaluations of the network for one sample, of the speeds of sampling."""


def lines(plan: Plan) -> list[str]:
    """The plan as lines of text."""
    (topology, chips), costs, options = (plan.topology, plan.topology.size), plan.costs, plan.config.training
    seconds = {name: cost.least_seconds(topology.chip, chips, plan.dtype) for name, cost in costs.items()}
    fits = f"fits, {_size(plan.left)} of {_size(topology.chip.memory)} left" if plan.left >= 0 else "does not fit"
    parameters = next(iter(costs.values())).lowered.parameters
    result = [
        f"{topology.name}, {chips} chips: {fits}",
        f"{human(parameters)} parameters, batch {options.batch_size} in {options.accumulate}, fsdp "
        f"{sharing(options, chips)}, products in {plan.dtype}",
        "",
        f"{'of a chip':34}" + "".join(f"{name:>16}" for name in costs),
    ]

    def row(title: str, value: Callable[[str, Cost], str], always: bool = False) -> None:
        texts = (value(name, cost) if always or cost.needed is None else "–" for name, cost in costs.items())
        result.append(f"{title:34}" + "".join(f"{text:>16}" for text in texts))

    row("state", lambda _, cost: _size(cost.lowered.state), always=True)
    row("temporary", lambda _, cost: _size(cost.temporary))
    row("program", lambda _, cost: _size(cost.code))
    row("in all", lambda _, cost: _size(cost.total), always=True)
    row("evaluations of the network", lambda _, cost: str(cost.lowered.evaluations), always=True)
    row("operations of a call, all chips", lambda _, cost: human(cost.lowered.flops), always=True)
    row("operations of an example", lambda _, cost: human(cost.lowered.flops / cost.lowered.examples), always=True)
    row("least time of the products", lambda name, _: _seconds(seconds[name]))
    row("examples a second at most", lambda name, cost: human(cost.lowered.examples / seconds[name]))
    sampling = costs.get("sampling")
    if costs["training"].needed is None:
        hours = options.steps * seconds["training"] * chips / 3600
        text = f"{human(hours)} device-hours at the bound, {human(hours / 0.4)} at 40 % of it"
        result.append(f"{options.steps:,} steps: {text}")
    if sampling is not None and sampling.needed is None:
        each = sampling.lowered.examples * sampling.lowered.evaluations / (seconds["sampling"] * chips)
        most, *others = (f"{human(each / count)} in {count}" for count in EVALUATIONS)
        result.append(f"samples a second and chip: {', '.join([f'{most} evaluations', *others])}")
    return result


def _size(count: float) -> str:
    return f"{human(count)}B" if count >= 1000 else f"{count:.0f} B"


def _seconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
