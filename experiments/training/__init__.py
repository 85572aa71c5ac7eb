"""The training loop with its hooks, the folder of a run, and the optimiser of a config."""

from typing import get_args

import flax.linen as nn
import jax
import optax

from experiments.cli.config import Config, choice, lookup, require
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field, Section
from scorekit import training
from scorekit.arguments import Between, Count, Each, OneOf
from scorekit.training import POWER_EMA_PREFIX, POWER_EMA_WIDEST, power_ema_width

OPTIMIZERS = get_args(training.OptimizerName)
BETAS = (0.9, 0.999)


FIELDS = Section(
    steps=Field(1000, Count(1), "Updates of the parameters."),
    batch_size=Field(128, Count(1, 2**20), "Examples of one update, on all devices and processes together."),
    optimizer=Field(None, OneOf(*OPTIMIZERS), """
        "adamw" (the default) or "muon", with which U-Nets learn fine detail in fewer steps."""),
    learning_rate=Field(2e-3, POSITIVE, "The peak of the learning rate."),
    warmup_steps=Field(100, Count(0), "Steps in which the learning rate rises from 0 to its peak."),
    final_fraction=Field(0.01, FRACTION, """
        The learning rate falls by a cosine to this share of its peak; 1 keeps it constant."""),
    decay_start=Field(None, Count(1), """
        In place of the cosine: from this step on the learning rate falls by the inverse square root of the steps."""),
    betas=Field(None, Each(Between(0, 1, "high"), least=2), """
        Decay of Adam's averages of the gradient and of its square; None is 0.9, 0.999."""),
    clip_norm=Field(1.0, POSITIVE, "A gradient of a larger norm is scaled to this one; None leaves it.", optional=True),
    weight_decay=Field(0.0, NON_NEGATIVE, """
        Decoupled from the gradient: each update also takes this share times the learning rate off the parameters."""),
    ema_decays=Field((0.999,), Each(Between(0, 1, "high")), """
        Decays of the exponential averages of the parameters that are kept, with warm-up."""),
    power_ema=Field(None, Each(Between(0, POWER_EMA_WIDEST, "both"), least=1), """
        Relative widths of power-function averages to keep as well, say (0.05, 0.1), for averages of any width after
        training (sampling.ema); None is none."""),
    snapshot_every=Field(None, Count(1), """
        Steps between their snapshots, which are kept for good; None is a twentieth of the steps; the last is one."""),
    accumulate=Field(1, Count(1, 2**20), "Parts that a batch is computed in, one after the other, to save memory."),
    parallel=Field("jit", OneOf("jit", "pmap"), '"jit" (one program over a mesh) or "pmap".'),
    fsdp=Field(1, Count(-1, 2**20), """
        Devices that hold one copy of parameters, averages and optimiser state; -1 for all devices."""),
    skip_limit=Field(20, Count(1), """
        Stop after this many consecutive steps whose loss was not finite, of which every tenth is looked at."""),
    log_every=Field(50, Count(1), "Steps between metrics."),
    sample_every=Field(500, Count(1), "Steps between pictures of samples."),
    checkpoint_every=Field(500, Count(1), "Steps between checkpoints."),
    keep=Field(2, Count(1), "Newest checkpoints to keep, apart from the best by held-out loss."),
)  # fmt: skip
"""The section ``training`` of a config."""


def unset(config: Config) -> list[str]:
    """The fields of ``training`` that are None in a config whose task chooses them, and must be set to train."""
    must = (name for name, row in FIELDS.items() if row.default is not None and not row.optional)
    return [name for name in must if config.training[name] is None]


def check(config: Config) -> None:
    """Validates that the fields of ``training`` are set, and relations between them."""
    options = config.training
    for name in unset(config):
        require(False, f"training.{name}", None, "set")
    require(len(options.betas or BETAS) == 2, "training.betas", options.betas, "two numbers")
    kept = options.power_ema is not None or options.snapshot_every is None
    require(kept, "training.snapshot_every", options.snapshot_every, "left out without training.power_ema")
    allowed = f"below training.steps={options.steps}, such as --config.training.warmup_steps={options.steps // 10}"
    require(options.warmup_steps < options.steps, "training.warmup_steps", options.warmup_steps, allowed)


def check_average(config: Config, field: str, *, post_hoc: bool = False) -> None:
    """Validates ``config.<field>``, the name of an average: one that training keeps, or "none"; with ``post_hoc`` also
    of any relative width, if training keeps power-function averages."""
    kept, name = config.training.power_ema or (), lookup(config, field)
    width = power_ema_width(name) if post_hoc and kept else None
    if width is not None:
        allowed = f"{POWER_EMA_PREFIX}<relative width>, in (0, 12^-1/2 = {POWER_EMA_WIDEST:.4f})"
        require(0 < width < POWER_EMA_WIDEST, field, name, allowed)
        return
    decays = tuple(map(str, config.training.ema_decays)) or ("none",)
    choice(field, name, (*decays, "none", *(f"{POWER_EMA_PREFIX}{float(width)}" for width in kept)))


def check_devices(config: Config, devices: int | None = None) -> None:
    """Validates batch and mesh against a number of devices, by default those of all processes."""
    devices, options = devices or jax.device_count(), config.training
    allowed = f"-1 or a divisor of the number of devices, {devices}"
    require(options.fsdp and devices % options.fsdp == 0, "training.fsdp", options.fsdp, allowed)
    allowed = f"a multiple of {devices * options.accumulate} (devices × training.accumulate)"
    require(
        options.batch_size % (devices * options.accumulate) == 0, "training.batch_size", options.batch_size, allowed
    )
    if options.parallel == "pmap":
        alone = jax.process_count() == 1 and (options.fsdp == 1 or devices == 1)
        require(alone, "training.parallel", "pmap", "jit with several processes or training.fsdp other than 1")


def sharing(options: Config, devices: int) -> int:
    """The number of devices, of so many, that hold one copy of the state: ``training.fsdp``, where -1 is all."""
    return devices if options.fsdp == -1 else options.fsdp


def learning_rate(options: Config) -> optax.Schedule:
    """The learning rate of the section ``training`` after a number of updates."""
    return training.learning_rate_schedule(
        options.learning_rate, options.warmup_steps, options.steps, options.final_fraction, options.decay_start
    )


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
