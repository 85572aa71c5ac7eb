"""From names in a config to the library: schedules, targets, weightings, times, couplings and networks."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, NamedTuple, TypeAlias, cast

import flax.linen as nn
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config, resolve
from experiments.cli.fields import FRACTION, POSITIVE, Choice, Field, narrowed
from experiments.models import flow_map_losses
from scorekit import interpolants, networks, predictions, schedules, times, weightings
from scorekit.arguments import Between, Bound, Count, Each, Finite, OneOf
from scorekit.interpolants import couplings
from scorekit.io import preconditioning
from scorekit.io.preconditioning import ClockInput, LogSNRInput, TimestepInput
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.training import optimal_assignment
from scorekit.typing import Array, Schedule, Weighting


def _with_defaults(module: ModuleType, first: str | None = None) -> dict[str, Callable]:
    """The public functions of a module whose arguments have defaults, after this first one, by name."""
    found = {}
    for name in module.__all__:
        arguments = list(inspect.signature(getattr(module, name)).parameters.values())
        if first is not None and arguments[0].name != first:
            continue
        if all(argument.default is not argument.empty for argument in arguments[first is not None :]):
            found[name] = getattr(module, name)
    return found


_LINEAR_LOG_SNR = Choice(
    lambda log_snr_max=13.3, log_snr_min=-5.0: schedules.learned(1, log_snr_max, log_snr_min),
    "Log-SNR linear in t, variance preserving.\n\nArgs:\n  log_snr_max: at t = 0.\n  log_snr_min: at t = 1.",
)
SCHEDULES = narrowed(
    dict(sorted({**_with_defaults(schedules), "linear_log_snr": _LINEAR_LOG_SNR}.items())),
    beta_max=POSITIVE,
    num_knots=Count(1, 1024),
    sigma_max=POSITIVE,
)


def _constant(value):
    """A factory without fields."""
    return Choice(lambda: value, inspect.getdoc(value))


def _function(function: Callable) -> Choice:
    """A factory of a function of the log-SNR with its other arguments, if it has any."""
    numbers = {name: one.default for name, one in inspect.signature(function).parameters.items() if name != "log_snr"}
    if not numbers:
        return _constant(function)
    return Choice(lambda **values: Partial(function, **{**numbers, **values}), function, drop=("log_snr",))


TARGETS: Mapping[str, Callable] = {
    **{name: _constant(target) for name, target in predictions.TARGETS.items()},
    "edm": predictions.edm_target,
    "negative_eps": preconditioning.NegativeEps,
}


def _timestep(
    betas: str = "linear",
    count: Annotated[int, Count(2, 2**20)] = 1000,
    start: Annotated[float, Between(0, 1, "both")] = 1e-4,
    end: Annotated[float, Between(0, 1, "both")] = 0.02,
    zero_snr: bool = False,
) -> TimestepInput:
    """The index in a table of betas.

    Args:
      betas: name of the table.
      count: number of steps.
      start: first beta; not of the cosine.
      end: last beta, likewise.
      zero_snr: whether the last step is noise alone.
    """
    table = {"beta_schedule": betas, "num_train_timesteps": count, "beta_start": start, "beta_end": end}
    found = preconditioning.from_scheduler({**table, "rescale_betas_zero_snr": zero_snr}).noise_input
    return cast(TimestepInput, found)


NOISE_INPUTS: Mapping[str, Callable] = {
    "clock": Choice(
        lambda scale=4.0: ClockInput(scale=scale),
        "``scale sigma / (alpha + sigma)``.\n\nArgs:\n  scale: the value at pure noise.",
    ),
    "log_snr": Choice(
        lambda scale=0.25, offset=0.0: LogSNRInput(scale=scale, offset=offset),
        "``scale log_snr + offset``.\n\nArgs:\n  scale: of the log-SNR.\n  offset: added to it.",
    ),
    "time": Choice(
        lambda schedule, scale=1000.0: TimestepInput(schedule=schedule, last=scale),
        "``scale t``, the time of the schedule.\n\nArgs:\n  scale: the value at t = 1.",
    ),
    "timestep": Choice(
        _timestep,
        betas=Field("linear", OneOf(*preconditioning.BETAS), "the name of the table."),
    ),
    "vp": Choice(
        lambda beta_min=0.1, beta_max=20.0: preconditioning.vp(beta_min, beta_max).noise_input,
        "999 times the time of linear VP.",
        beta_min=Field(0.1, POSITIVE, "rate at t = 0."),
        beta_max=Field(20.0, POSITIVE, "rate at t = 1."),
    ),
}
"""The arguments for the noise level with which a network is called."""

_Positives: TypeAlias = Annotated[tuple, Each(POSITIVE)]
_SomePositives: TypeAlias = Annotated[tuple, Each(POSITIVE, least=1)]


def _band(schedule: Schedule, power: _SomePositives, count: _Positives = ()) -> Weighting:
    return weightings.per_log_snr(weightings.band(power, count or None), schedule)


def _band_times(power: _SomePositives, count: _Positives = ()) -> TimeSampler:
    return times.band(power, count or None)


def _discrete_times(ts: Annotated[tuple, Each(FRACTION, least=1)], weights: _Positives = ()) -> TimeSampler:
    return times.discrete(ts, weights or None)


def _sigmoid(schedule: Schedule, bias: Finite = 0.0) -> Weighting:
    return weightings.per_log_snr(Partial(weightings.sigmoid, bias=bias), schedule)


_WEIGHTINGS: dict[str, Callable] = {
    "band": Choice(_band, weightings.band),
    "likelihood": weightings.likelihood,
    "sigmoid": Choice(_sigmoid, weightings.sigmoid),
}
_WEIGHTINGS = {name: _function(one) for name, one in _with_defaults(weightings, "log_snr").items()} | _WEIGHTINGS
WEIGHTINGS: Mapping[str, Callable] = dict(sorted(_WEIGHTINGS.items()))

ENDS = {"t_max": Between(0, 1, "low"), "t_min": Between(0, 1, "high")}
"""The first and last time of a grid, or of training."""
TIMES: Mapping[str, Callable] = {
    "annealed": times.annealed,
    "band": Choice(_band_times, times.band),
    "discrete": Choice(_discrete_times, times.discrete),
    "log_normal_sigma": times.log_normal_sigma,
    "logit_normal": times.logit_normal,
    "uniform": times.uniform,
    "uniform_log_snr": times.uniform_log_snr,
}

_WIDTH, _DEPTH = Count(1, 2**16), Count(1, 1024)
_SIZES: Mapping[str, Bound] = {
    "attention_levels": Each(Count(0, 1023)),
    **dict.fromkeys(("blocks", "cycle", "depth", "dilation_base", "layers", "token_depth"), _DEPTH),
    **dict.fromkeys(("channels", "columns", "features", "group_channels", "groups", "head_channels", "heads"), _WIDTH),
    **dict.fromkeys(("latent_channels", "patch", "width", "window"), _WIDTH),
    "codes": Count(2, 2**24),
    "conditioning_layers": Count(0, 1024),
    "factors": Each(_WIDTH),
    "filters": Count(0, 2**16),
    **dict.fromkeys(("grid", "level_heads"), Each(_WIDTH)),
    "mlp_ratio": Between(0, 1024, "low"),
    "multipliers": Each(_DEPTH, least=1),
    "noise_channels": Count(2, 2**16),
    "resample_filter": Each(POSITIVE, least=2),
    "taps": Count(2, 1024),
    "token_levels": Each(Count(0, 1023)),
}
"""The sizes of networks, classifiers, autoencoders and contrastive encoders, which are limited in a config."""


def _module(kind: type[nn.Module], *drop: str) -> Choice:
    """A factory with the attributes of the module as arguments, its dtype by name; a run has no variance to learn."""

    def make(dtype: str = "float32", **sizes) -> nn.Module:
        return cast(Any, kind)(dtype=jnp.dtype(dtype), **sizes)

    dtype = Field("float32", OneOf("float32", "bfloat16"), "")
    return Choice(make, kind, drop=("parent", "name", "learned_variance", "divergence", *drop), dtype=dtype)


def _causal(kind: type[nn.Module]) -> Choice:
    """The causal network as a denoiser of values, of which position i sees those up to i with a noise level each."""
    module = _module(kind, "num_codes", "shifted", "map_size")

    def make(map_shape: tuple[int, ...] | None = None, **sizes) -> nn.Module:
        return module(shifted=False, map_size=None if map_shape is None else map_shape[-1], **sizes)

    return Choice(make, module, map_shape=Field(None, Each(Count()), ""))


def _sized(**modules: Choice) -> dict[str, Callable]:
    return narrowed(modules, **_SIZES)


CAUSAL_DENOISERS = _sized(
    causal_transformer=_causal(networks.CausalTransformer), causal_wavenet=_causal(networks.CausalWaveNet)
)
NETWORKS: Mapping[str, Callable] = {
    **_sized(**{kind.__name__.lower(): _module(kind) for kind in networks.DENOISING}),
    **CAUSAL_DENOISERS,
}
CAUSAL_NETWORKS = _sized(
    causal_transformer=_module(networks.CausalTransformer),
    causal_wavenet=_module(networks.CausalWaveNet),
    pixel_cnn=_module(networks.PixelCNN, "shifted"),
)
FLOWS = _sized(
    couplingflow=_module(networks.flows.CouplingFlow), autoregressiveflow=_module(networks.flows.AutoregressiveFlow)
)
CLASSIFIERS = _sized(unet_encoder=_module(networks.Classifier))
DUAL_ENCODERS = _sized(unet_encoder=_module(networks.DualEncoder))
AUTOENCODERS = _sized(convolutional=_module(networks.Autoencoder), kl=_module(networks.AutoencoderKL))


class Coupling(NamedTuple):
    """Which noise goes with which example.

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


TRANSPORT = "optimal_transport"
COUPLINGS: Mapping[str, Callable[..., Coupling | None]] = {
    "bridge": Choice(
        lambda: Coupling(_bridge, starts_at_map=True),
        "A diffusion bridge (I2SB) from the dense map, which is shaped like the example, in place of noise.",
    ),
    "independent": Choice(lambda: None, "Independent noise."),
    TRANSPORT: _optimal_transport,
}


def build_schedule(config: Config) -> Schedule:
    """The schedule, shifted by ``config.noise_factor``."""
    schedule = resolve(config, "schedule", SCHEDULES)
    return schedule if config.noise_factor == 1 else schedules.shifted(schedule, config.noise_factor)


def build_target(config: Config) -> Target:
    """The target that the network predicts."""
    return resolve(config, "loss.target", TARGETS)


def build_noise_input(config: Config, schedule: Schedule) -> LogSNRInput | TimestepInput | ClockInput:
    """The argument for the noise level with which the network is called."""
    return resolve(config, "preconditioning.noise", NOISE_INPUTS, schedule=schedule)


def build_flow_map(config: Config) -> flow_map_losses.FlowMapLoss | None:
    """The loss of a flow map; None for a denoiser."""
    return resolve(config, "loss.flow_map", flow_map_losses.LOSSES)


def build_coupling(config: Config) -> Coupling | None:
    """The coupling; None for independent noise."""
    return resolve(config, "loss.coupling", COUPLINGS, label_dropout=config.loss.label_dropout)


def build_weighting(config: Config, schedule: Schedule) -> Weighting:
    """The weighting of the loss."""
    return resolve(config, "loss.weighting", WEIGHTINGS, schedule=schedule)


def build_times(config: Config) -> TimeSampler:
    """The distribution of training times."""
    return resolve(config, "loss.times", TIMES)


def build_network(
    config: Config,
    num_classes: int | None,
    *,
    outputs: int = 1,
    vector_size: int | None = None,
    map_shape: tuple[int, ...] | None = None,
    token_size: int | None = None,
):
    """The Flax module of the network for these conditions; a causal one has as many outputs as the data channels."""
    sizes = {"outputs": outputs, "vector_size": vector_size, "map_shape": map_shape, "token_size": token_size}
    return resolve(config, "network", NETWORKS, num_classes=num_classes, **sizes)
