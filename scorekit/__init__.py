"""scorekit: score-based generative modelling as pure JAX functions. Each package is imported on first use.

Core: needs jax and numpy only; names, order of arguments and defaults stay as they are.
  ``schedules`` noise levels in time; ``times`` of training; ``weightings`` of losses; ``predictions`` what networks
  predict; ``densities`` exact distributions; ``process`` noise added to data; ``denoisers`` made from networks;
  ``losses`` objectives; ``guidance`` denoisers combined; ``solvers`` one step; ``samplers`` many steps;
  ``likelihood`` bits per dimension; ``typing`` protocols; ``arguments`` bounds; ``checks``; ``trees``; ``numerics``.
Methods: names stay, defaults may move.
  ``flow_maps`` one to four steps; ``interpolants`` paths between two data sets; ``discrete`` diffusion of tokens;
  ``autoregressive`` exact models of sequences; ``forcing`` a noise level for each frame; ``typicality`` where the mass
  lies; ``alignment`` to a reward; ``tuning`` of grids and coefficients; ``bridges`` to other packages; ``conformance``
  checks of any package.
Batteries: outputs equal those of a reference; most need an extra of ``pip install``.
  ``networks`` in Flax; ``io`` files and published weights; ``data`` sets and batches; ``training`` the step, averages,
  checkpoints; ``metrics`` of samples, features and posteriors; ``audio`` transforms, distances and files.
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach
from scorekit._version import __version__ as __version__

if TYPE_CHECKING:
    from scorekit import alignment as alignment
    from scorekit import arguments as arguments
    from scorekit import audio as audio
    from scorekit import autoregressive as autoregressive
    from scorekit import bridges as bridges
    from scorekit import checks as checks
    from scorekit import conformance as conformance
    from scorekit import data as data
    from scorekit import denoisers as denoisers
    from scorekit import densities as densities
    from scorekit import discrete as discrete
    from scorekit import flow_maps as flow_maps
    from scorekit import forcing as forcing
    from scorekit import guidance as guidance
    from scorekit import interpolants as interpolants
    from scorekit import io as io
    from scorekit import likelihood as likelihood
    from scorekit import losses as losses
    from scorekit import metrics as metrics
    from scorekit import networks as networks
    from scorekit import numerics as numerics
    from scorekit import predictions as predictions
    from scorekit import process as process
    from scorekit import samplers as samplers
    from scorekit import schedules as schedules
    from scorekit import solvers as solvers
    from scorekit import times as times
    from scorekit import training as training
    from scorekit import trees as trees
    from scorekit import tuning as tuning
    from scorekit import typicality as typicality
    from scorekit import typing as typing
    from scorekit import weightings as weightings
    from scorekit.denoisers import denoiser_from_network as denoiser_from_network
    from scorekit.losses import denoising_loss as denoising_loss
    from scorekit.process import sample_prior as sample_prior
    from scorekit.samplers import sample as sample
    from scorekit.typing import Prediction as Prediction

__getattr__, __dir__ = attach(__name__)
