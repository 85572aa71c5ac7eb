"""From names in a config to the library: schedules, targets, weightings, training times and networks."""

import inspect
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.cli.config import Config, resolve
from experiments.cli.declared import documented
from experiments.cli.ranges import above, at_least, between, count, finite, items, one_of, or_none
from experiments.models import flow_map_losses
from scorekit import networks, predictions, schedules, times, weightings
from scorekit.io import preconditioning
from scorekit.io.preconditioning import ClockInput, LogSNRInput, TimestepInput
from scorekit.networks.attention import ATTENTION
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.typing import Schedule, Weighting

SCHEDULES: Mapping[str, Callable] = {
    "cosine": schedules.cosine,
    "edm": schedules.edm,
    "geometric_ve": schedules.geometric_ve,
    "laplace": schedules.laplace,
    "learned": schedules.learned,
    "linear_log_snr": documented(
        "Log-SNR linear in t, variance preserving.\n\nArgs:\n  log_snr_max: at t = 0.\n  log_snr_min: at t = 1.",
        lambda log_snr_max=13.3, log_snr_min=-5.0: schedules.learned(1, log_snr_max, log_snr_min),
    ),
    "linear_vp": schedules.linear_vp,
    "rectified_flow": schedules.rectified_flow,
    "sigmoid": schedules.sigmoid,
    "sub_vp": schedules.sub_vp,
}

SCHEDULE_RANGES = or_none(
    beta_min=above(0),
    beta_max=above(0),
    start=finite,
    end=finite,
    log_snr_max=finite,
    log_snr_min=finite,
    num_knots=count(1, 1024),
    tau=above(0),
    mean=finite,
    scale=above(0),
    rho=above(0),
    s=at_least(0),
    sigma_min=at_least(0),
    sigma_max=above(0),
)


def _constant(value):
    """A factory without fields."""
    return documented(value, lambda: value)


TARGETS: Mapping[str, Callable] = {
    **{name: _constant(target) for name, target in predictions.TARGETS.items()},
    "edm": predictions.edm_target,
    "negative_eps": preconditioning.NegativeEps,
}
TARGET_RANGES = or_none(sigma_data=above(0))


NOISE_INPUTS: Mapping[str, Callable] = {
    "clock": documented(
        "``scale sigma / (alpha + sigma)``.\n\nArgs:\n  scale: the value at pure noise.",
        lambda scale=4.0: ClockInput(scale=scale),
    ),
    "log_snr": documented(
        "``scale log_snr + offset``.\n\nArgs:\n  scale: of the log-SNR.\n  offset: added to it.",
        lambda scale=0.25, offset=0.0: LogSNRInput(scale=scale, offset=offset),
    ),
    "time": documented(
        "``scale t``, the time of the schedule.\n\nArgs:\n  scale: the value at t = 1.",
        lambda schedule, scale=1000.0: TimestepInput(schedule=schedule, last=scale),
    ),
    "timestep": documented(
        "The index in a table of 1,000 betas.\n\nArgs:\n  betas: the name of the table.",
        lambda betas="linear": preconditioning.ddpm(betas).noise_input,
    ),
    "vp": documented(
        "999 times the time of linear VP.\n\nArgs:\n  beta_min: rate at t = 0.\n  beta_max: rate at t = 1.",
        lambda beta_min=0.1, beta_max=20.0: preconditioning.vp(beta_min, beta_max).noise_input,
    ),
}
"""What a network is called with for the noise level."""
NOISE_INPUT_RANGES = or_none(
    scale=finite,
    offset=finite,
    beta_min=above(0),
    beta_max=above(0),
    betas=one_of(*preconditioning.BETAS),
)


def _band(schedule: Schedule, power: tuple, count: tuple = ()) -> Weighting:
    return weightings.per_log_snr(weightings.band(power, count or None), schedule)


def _band_times(power: tuple, count: tuple = ()) -> TimeSampler:
    return times.band(power, count or None)


def _discrete_times(ts: tuple, weights: tuple = ()) -> TimeSampler:
    return times.discrete(ts, weights or None)


WEIGHTINGS: Mapping[str, Callable] = {
    "band": documented(weightings.band, _band),
    "edm": documented(weightings.edm, lambda sigma_data=0.5: Partial(weightings.edm, sigma_data=sigma_data)),
    "eps": _constant(weightings.eps),
    "flow": _constant(weightings.flow),
    "likelihood": weightings.likelihood,
    "logit_normal": documented(
        weightings.logit_normal, lambda mean=0.0, std=1.0: Partial(weightings.logit_normal, mean=mean, std=std)
    ),
    "min_snr": documented(weightings.min_snr, lambda gamma=5.0: Partial(weightings.min_snr, gamma=gamma)),
    "p2": documented(weightings.p2, lambda gamma=1.0, k=1.0: Partial(weightings.p2, gamma=gamma, k=k)),
    "score": _constant(weightings.score),
    "sigmoid": documented(
        weightings.sigmoid,
        lambda schedule, bias=0.0: weightings.per_log_snr(Partial(weightings.sigmoid, bias=bias), schedule),
    ),
    "snr": _constant(weightings.snr),
    "truncated_snr": _constant(weightings.truncated_snr),
    "v": _constant(weightings.v),
    "x0": _constant(weightings.x0),
}
WEIGHTING_RANGES = or_none(
    bias=finite,
    count=items(above(0)),
    gamma=at_least(0),
    k=above(0),
    mean=finite,
    power=items(above(0), least=1),
    sigma_data=above(0),
    std=above(0),
)

TIMES: Mapping[str, Callable] = {
    "annealed": times.annealed,
    "band": documented(times.band, _band_times),
    "discrete": documented(times.discrete, _discrete_times),
    "log_normal_sigma": times.log_normal_sigma,
    "logit_normal": times.logit_normal,
    "uniform": times.uniform,
    "uniform_log_snr": times.uniform_log_snr,
}
TIMES_RANGES = or_none(
    count=items(above(0)),
    first=between(0, 1),
    last=between(0, 1),
    mean=finite,
    power=items(above(0), least=1),
    std=above(0),
    t_max=between(0, 1, open_low=True),
    t_min=between(0, 1, open_high=True),
    ts=items(between(0, 1), least=1),
    weights=items(above(0)),
)


def _module(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    """A factory with the attributes of the module as arguments, its dtype by name; a run has no variance to learn."""
    arguments = [
        field.replace(default="float32", annotation=str) if field.name == "dtype" else field
        for field in inspect.signature(kind).parameters.values()
        if field.name not in ("parent", "name", "learned_variance")
    ]

    def make(dtype: str = "float32", **sizes) -> nn.Module:
        return kind(dtype=jnp.dtype(dtype), **sizes)  # type: ignore[call-arg]

    make.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
    return documented(kind, make)


def _causal(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    """The causal network as a denoiser of values, of which position i sees those up to i with a noise level each."""
    module, own = _module(kind), ("num_codes", "shifted", "map_size")
    shape = inspect.Parameter("map_shape", inspect.Parameter.KEYWORD_ONLY, default=None)
    arguments = [field for name, field in inspect.signature(module).parameters.items() if name not in own]

    def make(map_shape: tuple[int, ...] | None = None, **sizes) -> nn.Module:
        return module(shifted=False, map_size=None if map_shape is None else map_shape[-1], **sizes)

    make.__signature__ = inspect.Signature([*arguments, shape])  # type: ignore[attr-defined]
    return documented(kind, make)


CAUSAL_DENOISERS: Mapping[str, Callable] = {
    "causal_transformer": _causal(networks.CausalTransformer),
    "causal_wavenet": _causal(networks.CausalWaveNet),
}
NETWORKS: Mapping[str, Callable] = {
    **{kind.__name__.lower(): _module(kind) for kind in networks.DENOISING},
    **CAUSAL_DENOISERS,
}
CAUSAL_NETWORKS: Mapping[str, Callable] = {
    "causal_transformer": _module(networks.CausalTransformer),
    "causal_wavenet": _module(networks.CausalWaveNet),
}
CLASSIFIERS: Mapping[str, Callable] = {"unet_encoder": _module(networks.Classifier)}
DUAL_ENCODERS: Mapping[str, Callable] = {"unet_encoder": _module(networks.DualEncoder)}
AUTOENCODERS: Mapping[str, Callable] = {
    "convolutional": _module(networks.Autoencoder),
    "kl": _module(networks.AutoencoderKL),
}
_WIDTH, _DEPTH = count(1, 2**16), count(1, 1024)
SIZE_RANGES = or_none(
    attention=one_of(*ATTENTION),
    dtype=one_of("float32", "bfloat16"),
    embedding=one_of("positional", "fourier"),
    attention_levels=items(count(0, 1023)),
    attention_resolutions=items(count(1)),
    blocks=_DEPTH,
    channels=_WIDTH,
    codes=count(2, 2**24),
    conditioning_layers=count(0, 1024),
    cycle=_DEPTH,
    depth=_DEPTH,
    dilation_base=_DEPTH,
    dropout=between(0, 1, open_high=True),
    factors=items(_WIDTH),
    features=_WIDTH,
    filters=count(0, 2**16),
    grid=items(_WIDTH),
    group_channels=_WIDTH,
    groups=_WIDTH,
    head_channels=_WIDTH,
    heads=_WIDTH,
    latent_channels=_WIDTH,
    log_snr_max=finite,
    log_snr_min=finite,
    layers=_DEPTH,
    mlp_ratio=between(0, 1024, open_low=True),
    multipliers=items(_DEPTH, least=1),
    noise_channels=count(2, 2**16),
    noise_scale=above(0),
    patch=_WIDTH,
    pattern=one_of("full", "local", "strided"),
    resample_filter=items(above(0), least=2),
    scaling_factor=above(0),
    taps=count(2, 1024),
    token_levels=items(count(0, 1023)),
    shift_factor=finite,
    width=_WIDTH,
    window=_WIDTH,
)
"""The sizes of networks, classifiers, autoencoders and contrastive encoders."""


def build_schedule(config: Config) -> Schedule:
    """The schedule, shifted by ``config.noise_factor``."""
    schedule = resolve(config, "schedule", SCHEDULES)
    return schedule if config.noise_factor == 1 else schedules.shifted(schedule, config.noise_factor)


def build_target(config: Config) -> Target:
    """What the network predicts."""
    return resolve(config, "loss.target", TARGETS)


def build_noise_input(config: Config, schedule: Schedule) -> LogSNRInput | TimestepInput | ClockInput:
    """What the network is called with for the noise level."""
    return resolve(config, "preconditioning.noise", NOISE_INPUTS, schedule=schedule)


def build_flow_map(config: Config) -> flow_map_losses.FlowMapLoss | None:
    """The loss of a flow map; None for a denoiser."""
    return resolve(config, "loss.flow_map", flow_map_losses.LOSSES)


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
    return build_module(config, "network", NETWORKS, num_classes=num_classes, **sizes)


def build_module(config: Config, section: str, table: Mapping[str, Callable], **supplied):
    """The Flax module that a section of the config names."""
    return resolve(config, section, table, **supplied)
