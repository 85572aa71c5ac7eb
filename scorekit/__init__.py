"""scorekit: score-based generative modelling as pure JAX functions. Each package is imported on first use.

Core: needs jax and numpy only; names, order of arguments and defaults stay as they are.
  ``schedules`` noise levels in time; ``times`` of training; ``weightings`` of losses; ``predictions`` what networks
  predict; ``densities`` exact distributions; ``process`` noise added to data; ``denoisers`` made from networks;
  ``losses`` objectives; ``guidance`` denoisers combined; ``solvers`` one step; ``samplers`` many steps;
  ``likelihood`` bits per dimension; ``typing`` protocols; ``arguments`` bounds; ``checks``; ``trees``; ``numerics``.
Methods: names stay, defaults may move.
  ``flow_maps`` one to four steps; ``interpolants`` paths between two data sets; ``discrete`` diffusion of tokens;
  ``autoregressive`` exact models of sequences; ``forcing`` a noise level for each frame; ``typicality`` where the mass
  lies; ``tuning`` of grids and coefficients; ``bridges`` to other packages; ``conformance`` checks of any package.
Batteries: outputs equal those of a reference; each needs an extra of ``pip install``.
  ``networks`` in Flax; ``io`` files and published weights; ``data`` sets and batches; ``training`` the step, averages,
  checkpoints; ``metrics`` of samples, features and posteriors; ``audio`` transforms, distances and files.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach
from scorekit._version import __version__

if TYPE_CHECKING:
    from scorekit import (
        arguments,
        audio,
        autoregressive,
        bridges,
        checks,
        conformance,
        data,
        denoisers,
        densities,
        discrete,
        flow_maps,
        forcing,
        guidance,
        interpolants,
        io,
        likelihood,
        losses,
        metrics,
        networks,
        numerics,
        predictions,
        process,
        samplers,
        schedules,
        solvers,
        times,
        training,
        trees,
        tuning,
        typicality,
        typing,
        weightings,
    )
    from scorekit.denoisers import denoiser_from_network
    from scorekit.losses import denoising_loss
    from scorekit.process import sample_prior
    from scorekit.samplers import sample
    from scorekit.typing import Prediction

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
