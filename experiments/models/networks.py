"""The networks of a config, with the data channels and conditions that they are built for."""

from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import POSITIVE, Field
from scorekit import networks
from scorekit.arguments import Between, Bound, Count, Each, OneOf

WIDTH, DEPTH = Count(1, 2**16), Count(1, 1024)
SIZES: Mapping[str, Bound] = {
    "attention_levels": Each(Count(0, 1023)),
    **dict.fromkeys(("blocks", "cycle", "depth", "dilation_base", "layers", "token_depth"), DEPTH),
    **dict.fromkeys(("channels", "columns", "features", "group_channels", "groups", "head_channels", "heads"), WIDTH),
    **dict.fromkeys(("latent_channels", "patch", "width", "window"), WIDTH),
    "codes": Count(2, 2**24),
    "conditioning_layers": Count(0, 1024),
    "factors": Each(WIDTH),
    "filters": Count(0, 2**16),
    "grid": Each(WIDTH),
    "input_octaves": Each(Count(0, 64)),
    "log_snr_range": Each(Between(-1000, 1000)),
    "mlp_ratio": Between(0, 1024, "low"),
    "multipliers": Each(DEPTH, least=1),
    "noise_channels": Count(2, 2**16),
    "resample_filter": Each(POSITIVE, least=2),
    "taps": Count(2, 1024),
    "token_levels": Each(Count(0, 1023)),
}
"""The sizes of networks, classifiers, autoencoders and contrastive encoders, which are limited in a config."""
SMALL: Mapping[str, int] = {
    **dict.fromkeys(("blocks", "depth", "encoder_blocks", "multipliers", "token_depth"), 1),
    **dict.fromkeys(("cycle", "heads", "layers", "steps"), 2),
    **dict.fromkeys(("channels", "features", "filters", "head_channels"), 8),
    **dict.fromkeys(("group_channels", "groups", "latent_channels"), 4),
    "width": 16,
}
"""The sizes of a network that only has to run: each is at most this, with ``--smoke``."""


def module(kind: type[nn.Module], *drop: str) -> Choice:
    """A factory with the attributes of the module as arguments, its dtype by name; a run has no variance to learn."""

    def make(dtype: str = "float32", **sizes) -> nn.Module:
        return cast(Any, kind)(dtype=jnp.dtype(dtype), **sizes)

    dtype = Field("float32", OneOf("float32", "bfloat16"), "")
    return Choice(make, kind, drop=("parent", "name", "learned_variance", "divergence", *drop), dtype=dtype)


def _causal(kind: type[nn.Module]) -> Choice:
    """The causal network as a denoiser of values, of which position i sees those up to i with a noise level each."""
    network = module(kind, "num_codes", "shifted", "map_size")

    def make(map_shape: tuple[int, ...] | None = None, **sizes) -> nn.Module:
        return network(shifted=False, map_size=None if map_shape is None else map_shape[-1], **sizes)

    return Choice(make, network, map_shape=Field(None, Each(Count()), ""))


def _denoising(kind: type[nn.Module]) -> Choice:
    return _causal(kind) if kind.__name__.lower() in CAUSAL_DENOISERS.values() else module(kind)


CAUSAL_DENOISERS = {"causal_transformer": "causaltransformer", "causal_wavenet": "causalwavenet"}
"""Causal networks as denoisers of frames."""
CAUSAL = {
    "causal_transformer": "scorekit.networks:CausalTransformer",
    "causal_wavenet": "scorekit.networks:CausalWaveNet",
}
NETWORKS = Choices(
    {
        **{name.lower(): f"scorekit.networks:{name}" for name in networks.DENOISING},
        **CAUSAL,
    },
    "unet",
    "What is trained: the function of the noisy example, the noise level and the conditions.",
    ("num_classes", "outputs", "vector_size", "map_shape", "token_size"),
    bounds=SIZES,
    adapt=_denoising,
)


def networks_of(axes: int, frames: bool = False) -> list[str]:
    """The networks for examples with so many spatial axes; with a noise level for each frame, causal ones as well."""
    causal = [*CAUSAL_DENOISERS] if frames and axes == 1 else []
    return [name.lower() for name in networks.DENOISING if axes in getattr(networks, name).spatial_axes] + causal


def fits(name: str, axes: int, frames: bool = False) -> bool:
    """Whether a network is for examples with so many spatial axes."""
    return name in networks_of(axes, frames)
