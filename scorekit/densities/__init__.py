"""Exact distributions, with samples, log-densities, entropies and exact denoisers at every (alpha, sigma).

They are test oracles and toy data sets. Vectors are on the last axis, of length D; leading axes are batch axes. Images
and signals have :class:`~scorekit.densities.RandomField`, and their power :mod:`~scorekit.densities.spectra`.
"""

from scorekit.densities import spectra
from scorekit.densities.bounded import Bounds, Uniform, bounds, uniform
from scorekit.densities.fitting import fit_gaussian
from scorekit.densities.gaussian import Gaussian, gaussian
from scorekit.densities.mirage import GaussianMirage, gaussian_mirage
from scorekit.densities.mixture import Mixture, mixture, ring
from scorekit.densities.random_fields import RandomField, power_law, random_field
from scorekit.densities.tilted import QuadraticTilt, Tilted, quadratic_tilt, tilt

__all__ = [
    "Bounds",
    "Gaussian",
    "GaussianMirage",
    "Mixture",
    "QuadraticTilt",
    "RandomField",
    "Tilted",
    "Uniform",
    "bounds",
    "fit_gaussian",
    "gaussian",
    "gaussian_mirage",
    "mixture",
    "power_law",
    "quadratic_tilt",
    "random_field",
    "ring",
    "spectra",
    "tilt",
    "uniform",
]
