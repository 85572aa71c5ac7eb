"""The training loop, what it writes, and the training tasks of distillation."""

from typing import get_args

import flax.linen as nn
import jax
import optax
from ml_collections import ConfigDict, config_dict

from experiments.cli.config import Config, require
from experiments.cli.ranges import above, at_least, between, check_ranges, count, items, one_of, or_none, within
from scorekit import training
from scorekit.training import POWER_EMA_WIDEST, SnapshotDtype

OPTIMIZERS = get_args(training.OptimizerName)
BETAS = (0.9, 0.999)
SNAPSHOT_DTYPES = get_args(SnapshotDtype)


def fields() -> ConfigDict:
    """The section ``training`` of a config, with defaults."""
    options = ConfigDict()
    options.steps = 1000
    """Updates of the parameters."""
    options.batch_size = 128
    """Examples of one update, on all devices and processes together."""
    options.optimizer = config_dict.placeholder(str)
    """"adamw" (the default) or "muon", with which U-Nets learn fine detail in fewer steps."""
    options.learning_rate = 2e-3
    """The peak of the learning rate."""
    options.warmup_steps = 100
    """Steps in which the learning rate rises from 0 to its peak."""
    options.final_fraction = 0.01
    """The learning rate falls by a cosine to this share of its peak; 1 keeps it constant."""
    options.decay_start = config_dict.placeholder(int)
    """In place of the cosine: from this step on the learning rate falls by the inverse square root of the steps."""
    options.betas = config_dict.placeholder(tuple)
    """Decay of Adam's averages of the gradient and of its square; None is 0.9, 0.999."""
    options.clip_norm = 1.0
    """A gradient of a larger norm is scaled to this one; None leaves it."""
    options.weight_decay = 0.0
    """Decoupled from the gradient: each update also takes this share times the learning rate off the parameters."""
    options.ema_decays = (0.999,)
    """Decays of the exponential averages of the parameters that are kept, with warm-up."""
    options.power_ema = config_dict.placeholder(tuple)
    """Relative widths of power-function averages to keep as well, say (0.05, 0.1), for averages of any width after
    training (sampling.ema); None is none."""
    options.snapshot_every = config_dict.placeholder(int)
    """Steps between their snapshots, which are kept for good; None is a twentieth of the steps; the last is one."""
    options.snapshot_dtype = config_dict.placeholder(str)
    """"float32" (the default) or "bfloat16", half the size."""
    options.accumulate = 1
    """Parts that a batch is computed in, one after the other, to save memory."""
    options.parallel = "jit"
    """"jit" (one program over a mesh) or "pmap"."""
    options.fsdp = 1
    """Devices that hold one copy of parameters, averages and optimiser state; -1 for all devices."""
    options.skip_limit = 20
    """Stop after this many consecutive steps whose loss was not finite."""
    options.log_every = 50
    """Steps between metrics."""
    options.sample_every = 500
    """Steps between pictures of samples."""
    options.checkpoint_every = 500
    """Steps between checkpoints."""
    options.keep = 2
    """Newest checkpoints to keep, apart from the best by held-out loss."""
    return options


RANGES = {
    "steps": count(1),
    "batch_size": count(1, 2**20),
    "learning_rate": above(0),
    "warmup_steps": count(0),
    "final_fraction": between(0, 1),
    **or_none(
        betas=items(between(0, 1, open_high=True), least=2),
        clip_norm=above(0),
        decay_start=count(1),
        optimizer=one_of(*OPTIMIZERS),
        power_ema=items(between(0, POWER_EMA_WIDEST, open_low=True, open_high=True), least=1),
        snapshot_dtype=one_of(*SNAPSHOT_DTYPES),
        snapshot_every=count(1),
    ),
    "parallel": one_of("jit", "pmap"),
    "weight_decay": at_least(0),
    "ema_decays": items(between(0, 1, open_high=True)),
    "accumulate": count(1, 2**20),
    "fsdp": count(-1, 2**20),
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
    require(len(options.betas or BETAS) == 2, "training.betas", options.betas, "two numbers")
    for field in ("snapshot_every", "snapshot_dtype"):
        kept = options.power_ema is not None or options[field] is None
        require(kept, f"training.{field}", options[field], "left out without training.power_ema")
    allowed = f"below training.steps={options.steps}"
    require(options.warmup_steps < options.steps, "training.warmup_steps", options.warmup_steps, allowed)


def check_devices(config: Config) -> None:
    """Validates batch and mesh against the devices of all processes."""
    devices, options = jax.device_count(), config.training
    allowed = f"-1 or a divisor of the number of devices, {devices}"
    require(options.fsdp and devices % options.fsdp == 0, "training.fsdp", options.fsdp, allowed)
    allowed = f"a multiple of {devices * options.accumulate} (devices × training.accumulate)"
    require(
        options.batch_size % (devices * options.accumulate) == 0, "training.batch_size", options.batch_size, allowed
    )
    if options.parallel == "pmap":
        alone = jax.process_count() == 1 and (options.fsdp == 1 or devices == 1)
        require(alone, "training.parallel", "pmap", "jit with several processes or training.fsdp other than 1")


def build_optimizer(
    options: Config, learning_rate: float | None = None, module: nn.Module | None = None
) -> optax.GradientTransformation:
    """The optimiser of the section ``training``, with another peak learning rate if one is given.

    A network with a ``project`` method has its parameters projected after each update.
    """
    optimizer = training.make_optimizer(
        options.learning_rate if learning_rate is None else learning_rate,
        options.warmup_steps,
        options.steps,
        options.final_fraction,
        options.clip_norm,
        options.weight_decay,
        options.optimizer or OPTIMIZERS[0],
        tuple(options.betas or BETAS),  # type: ignore[arg-type]
        options.decay_start,
    )
    project = getattr(module, "project", None)
    return optimizer if project is None else training.projected(optimizer, project)
