"""A plan for people: whether it fits, its costs, its bounds, and the field to change where it does not fit."""

from collections.abc import Callable

from experiments.cli.config import Config, leaves
from experiments.cli.progress import duration, human
from experiments.planning.bounds import Bound, Cost, bound
from experiments.planning.plans import Plan
from experiments.training import sharing

UTILISATION = 0.4
"""A fraction of the bound, for device-hours that are no bound."""
EVALUATIONS = (50, 25, 4, 1)
"""Evaluations of the network for one sample, of the speeds of sampling."""


def size(count: float) -> str:
    """Bytes for reading: ``1.26 GB``."""
    return f"{human(count)}B" if count >= 1000 else f"{count:.0f} B"


def lines(plan: Plan) -> list[str]:
    """The plan as lines of text."""
    topology, chips, costs = plan.topology, plan.topology.size, plan.costs
    options, first = plan.config.training, next(iter(plan.costs.values()))
    fits = f"fits, {size(plan.left)} of {size(topology.chip.memory)} left" if plan.left >= 0 else "does not fit"
    shared = sharing(options, chips)
    found = [
        f"{topology.name}, {chips} chips: {fits}",
        f"{human(first.parameters)} parameters, batch {options.batch_size} in {options.accumulate}, fsdp {shared}, "
        f"products in {plan.dtype}",
        "",
        f"{'of a chip':34}" + "".join(f"{name:>16}" for name in costs),
    ]

    def row(title: str, value: Callable[[Cost, Bound], str]) -> None:
        values = (value(cost, bound(cost, topology.chip, chips, plan.dtype)) for cost in costs.values())
        found.append(f"{title:34}" + "".join(f"{text:>16}" for text in values))

    row("state", lambda cost, _: size(cost.state))
    row("temporary", lambda cost, _: "too much" if cost.needed else size(cost.temporary))
    row("program", lambda cost, _: "–" if cost.needed else size(cost.code))
    row("in all", lambda cost, _: size(cost.total))
    row("evaluations of the network", lambda cost, _: str(cost.evaluations))
    row("operations of a call, all chips", lambda cost, _: human(cost.flops))
    row("operations of an example", lambda cost, _: human(cost.flops / cost.examples))
    if all(cost.needed is None for cost in costs.values()):
        row("main memory, read and written", lambda cost, _: "–" if cost.memory is None else size(cost.memory))
        for kind in dict.fromkeys(kind for cost in costs.values() for kind in (*cost.near, *cost.far)):
            row(f"{kind}, links", lambda cost, _, kind=kind: size(cost.near.get(kind, 0.0)))
            if any(kind in cost.far for cost in costs.values()):
                row(f"{kind}, network", lambda cost, _, kind=kind: size(cost.far.get(kind, 0.0)))
        row("sent while it computes", _overlap)
        for name in Bound._fields:
            row(f"least time, {name}", lambda _, limit, name=name: duration_of(getattr(limit, name)))
        row("what binds", lambda _, limit: limit.binds)
        row("examples a second at most", lambda cost, limit: human(cost.examples / limit.seconds))
    row("compiled in", lambda cost, _: duration(cost.seconds))
    return [*found, *_hours(plan), *_sampling(plan), *([] if plan.left >= 0 else ["", advice(plan)])]


HEADER = (
    "topology",
    "batch",
    "state",
    "in all",
    "operations an example",
    "binds",
    "examples a second",
    "device-hours",
    "samples a second and chip",
)


def markdown(plan: Plan) -> str:
    """The plan as two rows of a Markdown table: titles and values; times are those of the bounds."""
    cost, sampling, chips = plan.costs["training"], plan.costs.get("sampling"), plan.topology.size
    options, values = plan.config.training, ["does not fit"] * 3
    if (hours := device_hours(plan)) is not None:
        limit = bound(cost, plan.topology.chip, chips, plan.dtype)
        values = [limit.binds, human(cost.examples / limit.seconds), human(hours)]
    speed = "–"
    if sampling is not None and sampling.needed is None:
        seconds = bound(sampling, plan.topology.chip, chips, plan.dtype).seconds
        speed = f"{human(sampling.examples / seconds / chips)} ({sampling.evaluations})"
    batch = f"{options.batch_size}" + (f" in {options.accumulate}" if options.accumulate > 1 else "")
    per_example = human(cost.flops / cost.examples)
    found = [plan.topology.name, batch, size(cost.state), size(cost.total), per_example, *values, speed]
    return "\n".join("| " + " | ".join(row) + " |" for row in (HEADER, found))


def duration_of(seconds: float) -> str:
    """A short time for reading."""
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _overlap(cost: Cost, _: Bound) -> str:
    sent = sum(cost.near.values()) + sum(cost.far.values())
    return f"{cost.overlapping / sent:.0%}" if sent else "–"


def device_hours(plan: Plan) -> float | None:
    """Hours of all chips together to the last step, at the bound; None where the plan does not fit."""
    cost = plan.costs.get("training")
    if cost is None or cost.needed is not None:
        return None
    chips = plan.topology.size
    return plan.config.training.steps * bound(cost, plan.topology.chip, chips, plan.dtype).seconds * chips / 3600


def _hours(plan: Plan) -> list[str]:
    hours, steps, show = device_hours(plan), plan.config.training.steps, f"{100 * UTILISATION:.0f} %"
    if hours is None:
        return []
    return [f"{steps:,} steps: {human(hours)} device-hours at the bound, {human(hours / UTILISATION)} at {show} of it"]


def _sampling(plan: Plan) -> list[str]:
    cost = plan.costs.get("sampling")
    if cost is None or cost.needed is not None:
        return []
    chips = plan.topology.size
    seconds = bound(cost, plan.topology.chip, chips, plan.dtype).seconds / max(cost.evaluations, 1)
    most, *others = (f"{human(cost.examples / (seconds * n * chips))} in {n}" for n in EVALUATIONS)
    return [f"samples a second and chip: {', '.join([f'{most} evaluations', *others])}"]


def advice(plan: Plan) -> str:
    """A sentence with the field to change."""
    topology, options, chips = plan.topology, plan.config.training, plan.topology.size
    cost, memory = max(plan.costs.values(), key=lambda cost: cost.total), topology.chip.memory
    name = next(name for name, each in plan.costs.items() if each is cost)
    short = f"{name} needs {size(cost.total)} of the {size(memory)} of a chip"
    fsdp, rows = sharing(options, chips), options.batch_size // (chips * options.accumulate)
    if name == "sampling":
        fewer = max(plan.config.sampling.batch_size // 2, 1)
        return f"{short}: sample fewer at once, --config.sampling.batch_size={fewer}"
    if cost.state > memory / 2 and fsdp < chips:
        return f"{short}, {size(cost.state)} of them state: split it over the chips, --config.training.fsdp=-1"
    if remat := remat_field(plan.config):
        return f"{short}: compute activations again, --config.{remat}=True"
    if rows > 1:
        return f"{short}: split the batch, --config.training.accumulate={2 * options.accumulate}"
    if fsdp < chips:
        return f"{short}, {size(cost.state)} of them state: split it over the chips, --config.training.fsdp=-1"
    larger = [shape for shape in topology.chip.shapes if shape not in topology.chip.shapes[: _place(plan)]]
    more = f", such as {larger[0]}" if larger else ""
    return f"{short}, {size(cost.state)} of them state: use more chips{more}, or chips with more memory"


def _place(plan: Plan) -> int:
    shapes = plan.topology.chip.shapes
    return shapes.index(plan.topology.shape) + 1 if plan.topology.shape in shapes else len(shapes)


def remat_field(config: Config) -> str:
    """The field that turns rematerialisation on; empty where it is on, or the network has none."""
    found = {field: value for field, value in leaves(config) if field.endswith(".remat")}
    return next((field for field, value in found.items() if not value), "")
