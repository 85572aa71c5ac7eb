"""What a config of a model must satisfy before anything is loaded or compiled."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from experiments import data
from experiments.cli.config import Config, ConfigError, lookup, named_errors, require
from experiments.models import choices, conditioning, couplings, learned_schedule, model, rules
from experiments.models.run_files import check_average
from experiments.models.sampling import build_sampler
from scorekit import times


def check(config: Config, scales: Sequence[float] | None = None) -> None:
    """Validates combinations of fields; compiles nothing.

    Args:
      config: the full config.
      scales: the guidance scales to sample at; by default all that the config names.
    """
    check_network(config)
    learned_schedule.check(config)
    schedule = choices.build_schedule(config)
    choices.build_target(config)
    choices.build_noise_input(config, schedule)
    weighting, sampler = choices.build_weighting(config, schedule), choices.build_times(config)
    choices.build_network(config, 10)
    solver, ts = build_sampler(config, schedule)
    one, key = jax.ShapeDtypeStruct((1,), jnp.float32), jax.random.key(0)
    trace(config, "loss.weighting", weighting, one)
    trace(config, "loss.times", lambda key: times.draw(key, 2, times.at_progress(sampler, 1.0), schedule), key)
    trace(config, "sampling.solver", lambda ts: solver.plan(schedule, ts), ts)
    check_average(config, "sampling.ema", post_hoc=True)
    if config.rules.autoguidance.ema is not None:
        check_average(config, "rules.autoguidance.ema", post_hoc=True)
    conditioning.check(config)
    couplings.check(config, schedule, solver, ts)
    if scales is None:
        scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    check_flow_map(config, scales)
    check_frame_levels(config)
    rules.check(config, schedule, scales)


TWO_TIMES = ("dit", "mlp", "unet")
"""The networks that take further scalars."""


def check_flow_map(config: Config, scales: Sequence[float]) -> None:
    """Validates that a flow map has a network of two times, and is what the solver of flow maps samples from, at
    guidance scales that it was trained for."""
    found, most = choices.build_flow_map(config), config.loss.guidance_max
    trained = found is not None
    allowed = "None without config.loss.flow_map, and for consistency_tuning"
    require(most is None or (trained and found.guided), "loss.guidance_max", most, allowed)
    if trained:
        allowed = f"{', '.join(TWO_TIMES)} for config.loss.flow_map.name={config.loss.flow_map.name}"
        require(config.network.name in TWO_TIMES, "network.name", config.network.name, allowed)
    if config.sampling.solver.name == "flow_map":
        require(
            trained, "loss.flow_map.name", config.loss.flow_map.name, "a flow map for sampling.solver.name=flow_map"
        )
        rule = ",".join(config.guidance)
        require(rule == "conditional", "guidance", rule, "conditional for sampling.solver.name=flow_map")
        for scale in scales:
            field = (
                "sampling.guidance_scale" if scale == config.sampling.guidance_scale else "evaluation.guidance_scales"
            )
            allowed = "1 for a flow map without config.loss.guidance_max"
            allowed = allowed if most is None else f"from 1 to config.loss.guidance_max={most:g}"
            require(1 <= scale <= (most or 1), field, scale, allowed)


def check_frame_levels(config: Config) -> None:
    """Validates that a model with a noise level for each frame has a network and a loss that take them."""
    if config.loss.levels != "frame":
        return
    allowed = "wavenet, causal_transformer or causal_wavenet for config.loss.levels=frame"
    takes_levels = config.network.name in ("wavenet", *choices.CAUSAL_DENOISERS)
    require(takes_levels, "network.name", config.network.name, allowed)
    allowed = "1 for config.loss.levels=frame: a patch has one level"
    require(config.network.patch in (None, 1), "network.patch", config.network.patch, allowed)
    for field, plain in (("flow_map", "none"), ("coupling", "independent")):
        name = config.loss[field].name
        require(name == plain, f"loss.{field}.name", name, f"{plain} for config.loss.levels=frame")
    require(not config.loss.log_variance, "loss.log_variance", config.loss.log_variance,
            "None for config.loss.levels=frame")  # fmt: skip
    require(config.schedule.name != "learned", "schedule.name", config.schedule.name,
            "a fixed schedule for config.loss.levels=frame")  # fmt: skip


def trace(config: Config, path: str, function: Callable, *args) -> None:
    """Traces what the section ``config.<path>`` has built: much is validated where it is used, not where it is made."""
    section = lookup(config, path)
    with named_errors(path, section.name, [field for field in section if section[field] is not None]):
        jax.eval_shape(function, *args)


def check_network(config: Config) -> None:
    """Validates the network against the kind of data."""
    fitting = data.kind_of(config).networks(config)
    allowed = f"{' or '.join(fitting)} for config.data.name={config.data.name}"
    require(config.network.name in fitting, "network.name", config.network.name, allowed)


def check_trainable(config: Config) -> None:
    """Validates what only training needs: a start and an average that exist, and no rules that read what exists after
    training."""
    model.check_start(config)
    allowed = "above 0 with config.loss.guidance_max, which needs a trained null token"
    dropout, most = config.loss.label_dropout, config.loss.guidance_max
    require(most is None or dropout > 0 or config.loss.joint_dropout > 0, "loss.label_dropout", dropout, allowed)
    check_average(config, "sampling.ema")
    if rules.needs_files(config):
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: {config.guidance[0]} reads another run or checkpoint; train "
            f"with another rule, and name it when sampling"
        )
