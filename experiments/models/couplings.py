"""Which noise a config pairs with which example, and what the result cannot be used for."""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from experiments.cli.config import Config, ConfigError, require, resolve
from experiments.cli.fields import Choice
from scorekit import interpolants
from scorekit.arguments import Count
from scorekit.interpolants import couplings
from scorekit.training import optimal_assignment
from scorekit.typing import Array, Schedule, Solver

BRIDGE, TRANSPORT = "bridge", "optimal_transport"
_OF_A_SCORE = ("eps", "negative_eps", "score")
_REVERSE_SDE = ("ancestral", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler_maruyama", "reverse_diffusion", "sa_solver")
"""The solvers of the SDE backward in time, whose steps need the signal alone."""


class Coupling(NamedTuple):
    """What a coupling changes.

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
    return interpolants.bridge_noise(x, given["dense_map"].value, eps, t, schedule)


def _optimal_transport(label_dropout, block_size: Annotated[int, Count(1, 4096)] = 128) -> Coupling:
    """The optimal transport of each minibatch, within each class unless loss.label_dropout is 1.

    Args:
      block_size: examples that are paired with each other; the time grows like its cube.
    """
    return Coupling(functools.partial(_transport, block_size, label_dropout < 1))


COUPLINGS: Mapping[str, Callable[..., Coupling | None]] = {
    BRIDGE: Choice(
        lambda: Coupling(_bridge, starts_at_map=True),
        "A diffusion bridge (I2SB) from the dense map, which is shaped like the example, in place of noise.",
    ),
    "independent": Choice(lambda: None, "Independent noise."),
    TRANSPORT: _optimal_transport,
}
"""The couplings by name."""


def build(config: Config) -> Coupling | None:
    """The coupling; None for independent noise."""
    return resolve(config, "loss.coupling", COUPLINGS, label_dropout=config.loss.label_dropout)


def has_score(config: Config) -> bool:
    """Whether the network gives the score of noised data, as it does with independent noise."""
    return config.loss.coupling.name == "independent"


def check_score(config: Config, given: str) -> None:
    """Raises an error for a model without a score, on behalf of a program that needs one."""
    if not has_score(config):
        raise ConfigError(
            f"{given}: a model of config.loss.coupling.name={config.loss.coupling.name} has no score, which this "
            f"program needs; train one with loss.coupling.name=independent"
        )


def check(config: Config, schedule: Schedule, solver: Solver, ts: Array) -> None:
    """Validates that nothing in the config needs what the coupling does not give."""
    build(config)
    name = config.loss.coupling.name
    if name == "independent":
        return
    for_it = f"for loss.coupling.name={name}"
    require(
        config.schedule.name != "learned",
        "schedule.name",
        config.schedule.name,
        f"a schedule that is not trained {for_it}, which has no variational bound",
    )
    rules = ",".join(config.guidance)
    require(
        "classifier" not in config.guidance,
        "guidance",
        rules,
        f"a rule without a classifier's gradient {for_it}, which gives no score",
    )
    (_check_transport if name == TRANSPORT else _check_bridge)(config, schedule, solver, ts, for_it)


def _check_transport(config: Config, schedule: Schedule, solver: Solver, ts: Array, for_it: str) -> None:
    del schedule, ts
    target = config.loss.target.name
    require(
        target not in _OF_A_SCORE,
        "loss.target.name",
        target,
        f"velocity, v, x0 or edm {for_it}: with paired noise eps is no score",
    )
    require(
        not solver.stochastic,
        "sampling.solver.name",
        config.sampling.solver.name,
        f"a deterministic solver {for_it}: fresh noise needs the score",
    )
    for section in ("map", "vector"):
        require(
            config.data[section].name == "none",
            f"data.{section}.name",
            config.data[section].name,
            f"none {for_it}, which keeps the noise normal within each class, not at each value",
        )


def _check_bridge(config: Config, schedule: Schedule, solver: Solver, ts: Array, for_it: str) -> None:
    require(config.data.map.name != "none", "data.map.name", "none", f"the map that the bridge starts at {for_it}")
    require(
        float(schedule.alpha(1.0)) > 0,
        "schedule.name",
        config.schedule.name,
        f"one with signal at t = 1, such as edm with sigma_min=0 and rho=0.5, {for_it}",
    )
    require(config.loss.flow_map.name == "none", "loss.flow_map.name", config.loss.flow_map.name, f"none {for_it}")
    noise = config.loss.map_noise
    require(noise is None, "loss.map_noise", noise, f"None {for_it}, whose map is the start of every path")
    used = config.sampling.solver
    require(used.name in _REVERSE_SDE, "sampling.solver.name", used.name, f"{', '.join(_REVERSE_SDE)} {for_it}")
    eta = getattr(solver, "eta", 1.0)
    require(float(eta) == 1.0, "sampling.solver.eta", eta, f"1 {for_it}: its steps are those of the SDE")
    require(float(ts[0]) == 1.0, "sampling.grid.t_max", float(ts[0]), f"1 {for_it}, which starts at the map")
