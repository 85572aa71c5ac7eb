"""The training loop, what it writes, and the training tasks of distillation."""

from typing import get_args

import jax
import optax
from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, ConfigError, choice, require
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


def check(config: Config) -> None:
    """Validates the section ``training``."""
    options = config.training
    choice("training.optimizer", options.optimizer or OPTIMIZERS[0], OPTIMIZERS)
    choice("training.parallel", options.parallel, ("jit", "pmap"))
    for field in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "sample_every", "skip_limit"):
        require(options[field] >= 1, f"training.{field}", options[field], "at least 1")
    allowed = f"at least 0 and below training.steps={options.steps}"
    require(0 <= options.warmup_steps < options.steps, "training.warmup_steps", options.warmup_steps, allowed)
    for decay in options.ema_decays:
        require(0 <= decay < 1, "training.ema_decays", options.ema_decays, "decays in [0, 1)")


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
