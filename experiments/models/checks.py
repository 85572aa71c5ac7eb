"""What a config of a model must satisfy before anything is loaded or compiled."""

from collections.abc import Sequence

from experiments import data
from experiments.cli.config import Config, ConfigError, require
from experiments.models import choices, conditioning, rules
from experiments.models.restoring import check_average
from experiments.models.sampling import build_sampler


def check(config: Config, scales: Sequence[float] | None = None) -> None:
    """Validates names, values and combinations; compiles nothing.

    Args:
      config: the full config.
      scales: the guidance scales to sample at; by default all that the config names.
    """
    check_network(config)
    schedule = choices.build_schedule(config)
    choices.build_target(config)
    choices.build_weighting(config, schedule)
    choices.build_times(config)
    choices.build_network(config, 10)
    build_sampler(config, schedule)
    check_average(config, "sampling.ema")
    conditioning.check(config)
    if scales is None:
        scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    rules.check(config, schedule, scales)


def check_network(config: Config) -> None:
    """Validates the network against the kind of data."""
    fitting = data.kind_of(config).networks(config)
    allowed = f"{' or '.join(fitting)} for config.data.name={config.data.name}"
    require(config.network.name in fitting, "network.name", config.network.name, allowed)


def check_trainable(config: Config) -> None:
    """Validates that the rules need nothing that only exists after training."""
    if rules.needs_files(config):
        raise ConfigError(
            f"config.guidance={','.join(config.guidance)}: {config.guidance[0]} reads another run or checkpoint; train "
            f"with another rule, and name it when sampling"
        )
