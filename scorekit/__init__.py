"""scorekit: score-based generative modelling as pure JAX functions.

``import scorekit`` imports the core, which needs jax and numpy only. The other packages are imported on first use, such
as ``scorekit.networks``, and bring their own requirements.
"""

from typing import TYPE_CHECKING

from scorekit import (
    arguments,
    checks,
    denoisers,
    densities,
    guidance,
    likelihood,
    losses,
    numerics,
    predictions,
    process,
    samplers,
    schedules,
    solvers,
    times,
    trees,
    typing,
    weightings,
)
from scorekit._lazy import attach
from scorekit._version import __version__
from scorekit.denoisers import denoiser_from_network
from scorekit.losses import denoising_loss
from scorekit.process import sample_prior
from scorekit.samplers import sample
from scorekit.typing import Prediction

if TYPE_CHECKING:
    from scorekit import (
        audio,
        autoregressive,
        bridges,
        conformance,
        data,
        discrete,
        flow_maps,
        forcing,
        interpolants,
        io,
        metrics,
        networks,
        training,
        tuning,
        typicality,
    )

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "Prediction",
    "__version__",
    "arguments",
    "audio",
    "autoregressive",
    "bridges",
    "checks",
    "conformance",
    "data",
    "denoiser_from_network",
    "denoisers",
    "denoising_loss",
    "densities",
    "discrete",
    "flow_maps",
    "forcing",
    "guidance",
    "interpolants",
    "io",
    "likelihood",
    "losses",
    "metrics",
    "networks",
    "numerics",
    "predictions",
    "process",
    "sample",
    "sample_prior",
    "samplers",
    "schedules",
    "solvers",
    "times",
    "training",
    "trees",
    "tuning",
    "typicality",
    "typing",
    "weightings",
]
