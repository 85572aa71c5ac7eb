"""The training loop, what it writes, and the training tasks of distillation."""

from typing import get_args

import jax
import optax
from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, ConfigError, choice, require
from experiments.cli.ranges import above, at_least, between, check_ranges, count, items, or_none, within
from scorekit import training

OPTIMIZERS = get_args(training.OptimizerName)


def fields() -> ConfigDict:
    """The section ``training`` of a config, with defaults."""
    options = ConfigDict()
    options.steps = 1000
    options.batch_size = 128
    options.optimizer = config_dict.placeholder(str)
    """"adamw" (the default) or "muon", with which U-Nets learn fine detail in fewer steps."""
    options.learning_rate = 2e-3
    options.warmup_steps = 100
    options.final_fraction = 0.01
    options.clip_norm = 1.0
    options.weight_decay = 0.0
    options.ema_decays = (0.999,)
    options.accumulate = 1
    options.parallel = "jit"
    """"jit" (one program over a mesh) or "pmap"."""
    options.model_axis = 1
    """Devices on the mesh's model axis."""
    options.shard_params = False
    """Split parameters and optimiser state over the model axis."""
    options.skip_limit = 20
    """Stop after this many consecutive steps whose loss was not finite."""
    options.log_every = 50
    options.sample_every = 500
    options.checkpoint_every = 500
    options.keep = 2
    """Newest checkpoints to keep, apart from the best by held-out loss."""
    return options


RANGES = {
    "steps": count(1),
    "batch_size": count(1, 2**20),
    "learning_rate": above(0),
    "warmup_steps": count(0),
    "final_fraction": between(0, 1),
    **or_none(clip_norm=above(0)),
    "weight_decay": at_least(0),
    "ema_decays": items(between(0, 1, open_high=True)),
    "accumulate": count(1, 2**20),
    "model_axis": count(1, 2**20),
    "skip_limit": count(1),
    "log_every": count(1),
    "sample_every": count(1),
    "checkpoint_every": count(1),
    "keep": count(1),
}
"""The values of the fields."""


def check(config: Config) -> None:
    """Validates the section ``training``."""
    check_ranges(config, within("training", RANGES))
    options = config.training
    choice("training.optimizer", options.optimizer or OPTIMIZERS[0], OPTIMIZERS)
    choice("training.parallel", options.parallel, ("jit", "pmap"))
    allowed = f"below training.steps={options.steps}"
    require(options.warmup_steps < options.steps, "training.warmup_steps", options.warmup_steps, allowed)


def check_devices(config: Config) -> None:
    """Validates batch and mesh against the devices of this machine."""
    devices, options = jax.device_count(), config.training
    if devices % options.model_axis:
        raise ConfigError(f"config.training.model_axis={options.model_axis}: must divide the {devices} devices")
    parts = devices // options.model_axis * options.accumulate
    if options.batch_size % parts:
        raise ConfigError(
            f"config.training.batch_size={options.batch_size}: must be a multiple of {parts} "
            f"(data devices × config.training.accumulate)"
        )
    if options.parallel == "pmap" and (options.model_axis > 1 or options.shard_params):
        raise ConfigError("config.training.parallel=pmap: needs model_axis=1 and shard_params=false")


def build_optimizer(options: Config, learning_rate: float | None = None) -> optax.GradientTransformation:
    """The optimiser of the section ``training``, with another peak learning rate if one is given."""
    return training.make_optimizer(
        options.learning_rate if learning_rate is None else learning_rate,
        options.warmup_steps,
        options.steps,
        options.final_fraction,
        options.clip_norm,
        options.weight_decay,
        options.optimizer or OPTIMIZERS[0],
    )
