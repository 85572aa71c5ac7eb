"""From names in a config to the library: schedules, targets, weightings, times, couplings and networks."""

import functools
import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Annotated, Any, NamedTuple, TypeAlias, cast

import flax.linen as nn
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.choices import Choice, Choices
from experiments.cli.config import Config
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field
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
SCHEDULES = Choices(
    dict(sorted({**_with_defaults(schedules), "linear_log_snr": _LINEAR_LOG_SNR}.items())),
    "cosine",
    "How much signal, alpha(t), and noise, sigma(t), there is at each time.",
    bounds={"beta_max": POSITIVE, "num_knots": Count(1, 1024), "sigma_max": POSITIVE},
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


TARGETS = Choices(
    {
        **{name: _constant(target) for name, target in predictions.TARGETS.items()},
        "edm": predictions.edm_target,
        "negative_eps": preconditioning.NegativeEps,
    },
    "v",
    "What the output of the network is.",
)


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


_NOISE_INPUTS = {
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
NOISE_INPUTS = Choices(_NOISE_INPUTS, "log_snr", "What the network is called with for the noise level.", ("schedule",))

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
WEIGHTINGS = Choices(
    dict(sorted(_WEIGHTINGS.items())),
    "v",
    "λ, the weight of the squared error of eps at each noise level.",
    ("schedule",),
)

ENDS = {"t_max": Between(0, 1, "low"), "t_min": Between(0, 1, "high")}
"""The first and last time of a grid, or of training."""
TIMES = Choices(
    {
        "annealed": times.annealed,
        "band": Choice(_band_times, times.band),
        "discrete": Choice(_discrete_times, times.discrete),
        "log_normal_sigma": times.log_normal_sigma,
        "logit_normal": times.logit_normal,
        "uniform": times.uniform,
        "uniform_log_snr": times.uniform_log_snr,
    },
    "uniform",
    "The distribution of the times, and so of the noise levels, of training.",
)

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


def _denoising(kind: type[nn.Module]) -> Choice:
    return _causal(kind) if kind.__name__.lower() in CAUSAL_DENOISERS.values() else _module(kind)


CAUSAL_DENOISERS = {"causal_transformer": "causaltransformer", "causal_wavenet": "causalwavenet"}
"""Causal networks as denoisers of frames."""
_CAUSAL = {
    "causal_transformer": "scorekit.networks:CausalTransformer",
    "causal_wavenet": "scorekit.networks:CausalWaveNet",
}
NETWORKS = Choices(
    {
        **{name.lower(): f"scorekit.networks:{name}" for name in networks.DENOISING},
        **_CAUSAL,
    },
    "unet",
    "What is trained: the function of the noisy example, the noise level and the conditions.",
    ("num_classes", "outputs", "vector_size", "map_shape", "token_size"),
    bounds=_SIZES,
    adapt=_denoising,
)


def networks_of(axes: int, frames: bool = False) -> list[str]:
    """The networks for examples with so many spatial axes; with a noise level for each frame, causal ones as well."""
    causal = [*CAUSAL_DENOISERS] if frames and axes == 1 else []
    return [name.lower() for name in networks.DENOISING if axes in getattr(networks, name).spatial_axes] + causal


def fits(name: str, axes: int, frames: bool = False) -> bool:
    """Whether a network is for examples with so many spatial axes."""
    if name in CAUSAL_DENOISERS:
        return frames and axes == 1
    classes = {name.lower(): name for name in networks.DENOISING}
    return axes in getattr(networks, classes[name]).spatial_axes


OF_SEQUENCES = Choices(
    {
        **_CAUSAL,
        "pixel_cnn": "scorekit.networks:PixelCNN",
        "dit": "scorekit.networks:DiT",
        "wavenet": "scorekit.networks:WaveNet",
    },
    "causal_transformer",
    """What is trained: a causal network of an autoregressive model, "dit" or "wavenet" of a diffusion, with an input
    channel for each symbol and the mask.""",
    ("outputs", "num_codes", "num_classes", "vector_size", "map_size", "map_shape", "token_size"),
    bounds=_SIZES,
    adapt=lambda kind: _module(kind, *(["shifted"] if kind.__name__ == "PixelCNN" else [])),
)
CAUSAL_NETWORKS = ("causal_transformer", "causal_wavenet", "pixel_cnn")
FLOWS = Choices(
    {
        "couplingflow": "scorekit.networks.flows:CouplingFlow",
        "autoregressiveflow": "scorekit.networks.flows:AutoregressiveFlow",
    },
    "couplingflow",
    "What is trained: an invertible network.",
    ("num_classes", "vector_size", "map_shape", "map_size", "data_channels"),
    bounds=_SIZES,
    adapt=_module,
)
CLASSIFIERS = Choices(
    {"unet_encoder": "scorekit.networks:Classifier"},
    "unet_encoder",
    "What is trained: the log-probabilities of the classes of a noisy example.",
    ("num_classes",),
    bounds=_SIZES,
    adapt=_module,
)
DUAL_ENCODERS = Choices(
    {"unet_encoder": "scorekit.networks:DualEncoder"},
    "unet_encoder",
    "What is trained: vectors of norm 1 of pictures, and of their captions.",
    bounds=_SIZES,
    adapt=_module,
)
AUTOENCODERS = Choices(
    {"convolutional": "scorekit.networks:Autoencoder", "kl": "scorekit.networks:AutoencoderKL"},
    "convolutional",
    """What is trained. With ``codes``, the latent is discrete: each of its vectors is one of so many codes. The name
    "kl" is the autoencoder of latent diffusion, which learns the standard deviations of its latent.""",
    ("data_channels",),
    bounds=_SIZES,
    adapt=_module,
)


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
COUPLINGS = Choices(
    {
        "bridge": Choice(
            lambda: Coupling(_bridge, starts_at_map=True),
            "A diffusion bridge (I2SB) from the dense map, which is shaped like the example, in place of noise.",
        ),
        "independent": Choice(lambda: None, "Independent noise."),
        TRANSPORT: _optimal_transport,
    },
    "independent",
    """Which noise goes with which example: independent; the optimal transport of the batch, for straighter paths; or
    what leads to its dense map, where sampling starts then.""",
    ("label_dropout",),
)


FLOW_MAPS = Choices(
    {
        "none": Choice(lambda: None, "A denoiser is trained."),
        **{
            name: f"experiments.models.flow_map_losses:{name}"
            for name in (
                "adversarial",
                "consistency_tuning",
                "drifting",
                "eulerian",
                "improved_mean_flow",
                "lagrangian",
                "mean_flow",
                "progressive",
                "shortcut",
                "stable_consistency",
            )
        },
    },
    "none",
    """Trains a flow map in place of a denoiser (experiments.models.flow_map_losses): the network gets the length of the
    jump, ``sampling.solver.name=flow_map`` samples with it, and ``loss.weighting`` is not used.""",
    bounds={
        "base": Between(1, open="low"),
        "channels": _WIDTH,
        "depth": Count(0, 20),
        "diagonal": FRACTION,
        "levels": Count(1, 20),
        "normalise": POSITIVE,
        "offset": POSITIVE,
        "penalty": NON_NEGATIVE,
        "power": NON_NEGATIVE,
        "rate": POSITIVE,
        "scale": POSITIVE,
        "stages": Count(1, 20),
        "warmup": Between(0, 1, "low"),
    },
)


def build_schedule(config: Config) -> Schedule:
    """The schedule, shifted by ``config.noise_factor``."""
    schedule = SCHEDULES.build(config, "schedule")
    return schedule if config.noise_factor == 1 else schedules.shifted(schedule, config.noise_factor)


def build_target(config: Config) -> Target:
    """The target that the network predicts."""
    return TARGETS.build(config, "loss.target")


def build_noise_input(config: Config, schedule: Schedule) -> LogSNRInput | TimestepInput | ClockInput:
    """The argument for the noise level with which the network is called."""
    return NOISE_INPUTS.build(config, "preconditioning.noise", schedule=schedule)


def build_flow_map(config: Config) -> Any:
    """The :class:`~experiments.models.flow_map_losses.FlowMapLoss`; None for a denoiser."""
    return FLOW_MAPS.build(config, "loss.flow_map")


def build_coupling(config: Config) -> Coupling | None:
    """The coupling; None for independent noise."""
    return COUPLINGS.build(config, "loss.coupling", label_dropout=config.loss.label_dropout)


def build_weighting(config: Config, schedule: Schedule) -> Weighting:
    """The weighting of the loss."""
    return WEIGHTINGS.build(config, "loss.weighting", schedule=schedule)


def build_times(config: Config) -> TimeSampler:
    """The distribution of training times."""
    return TIMES.build(config, "loss.times")


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
    return NETWORKS.build(config, "network", num_classes=num_classes, **sizes)
