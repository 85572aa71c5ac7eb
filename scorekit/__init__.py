"""scorekit: score-based generative modelling as pure JAX functions.

Everything imported here needs jax and numpy only. ``scorekit.networks``, ``scorekit.training``,
``scorekit.data``, ``scorekit.audio`` and ``scorekit.metrics`` are imported by name and bring their own requirements.
"""

from scorekit import (
    autoregressive,
    denoisers,
    densities,
    discrete,
    flow_maps,
    guidance,
    interpolants,
    likelihood,
    losses,
    predictions,
    process,
    samplers,
    schedules,
    solvers,
    times,
    trees,
    typicality,
    typing,
    weightings,
)
from scorekit._version import __version__
from scorekit.denoisers import denoiser_from_network
from scorekit.losses import denoising_loss
from scorekit.process import sample_prior
from scorekit.samplers import sample
from scorekit.typing import Prediction

__all__ = [
    "Prediction",
    "__version__",
    "autoregressive",
    "denoiser_from_network",
    "denoisers",
    "denoising_loss",
    "densities",
    "discrete",
    "flow_maps",
    "guidance",
    "interpolants",
    "likelihood",
    "losses",
    "predictions",
    "process",
    "sample",
    "sample_prior",
    "samplers",
    "schedules",
    "solvers",
    "times",
    "trees",
    "typicality",
    "typing",
    "weightings",
]
