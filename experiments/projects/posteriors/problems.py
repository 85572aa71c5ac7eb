"""The problems: laws of signals, what is observed of them, and their exact posteriors.

All signals have 64 values and a root mean square near 1. Every operator is a matrix of 64 rows, those that observe
nothing being 0, so that the programs of all operators are compiled once.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, schedules
from scorekit.guidance import operators
from scorekit.typing import Array, Denoiser

DIM, SCHEDULE = 64, schedules.Cosine()
LAWS = ("gaussian", "mixture")
Data = densities.Gaussian | densities.Mixture


def _inpaint(x: Array) -> Array:
    return operators.mask(jnp.asarray(np.random.default_rng(0).random(DIM) < 0.5))(x)


def _deconvolve(x: Array) -> Array:
    return operators.blur(operators.gaussian_kernel(1.5, 5, num_axes=1), "zero")(x[..., None])[..., 0]


def _fourier(x: Array) -> Array:
    """The mean, the 4 lowest frequencies and 8 others but the highest, with an orthonormal basis."""
    others = np.random.default_rng(0).choice(np.arange(5, DIM // 2), 8, replace=False)
    part = jnp.fft.rfft(x, norm="ortho")[:, jnp.asarray([*range(5), *sorted(others)])]
    both = jnp.concatenate([part.real, part.imag[:, 1:]], -1) * jnp.asarray([1.0, *24 * [2.0**0.5]])
    return jnp.pad(both, [(0, 0), (0, DIM - both.shape[-1])])


OPERATORS: dict[str, Callable[[Array], Array]] = {
    "denoise": lambda x: x,
    "deconvolve": _deconvolve,
    "inpaint": _inpaint,
    "fourier": _fourier,
}


def matrix_of(name: str) -> Array:
    """A, ``(64, 64)``."""
    return OPERATORS[name](jnp.eye(DIM)).T


def law(name: str) -> tuple[Data, Denoiser]:
    """A law and its exact denoiser: random walks, or a mixture of two Gaussians of random walks.

    The means of the mixture are on either side of 0 along the highest frequency, which partial Fourier observations
    miss and a blur shows at its edges only.
    """
    i = jnp.arange(1.0, DIM + 1)
    walk = jnp.minimum(i[:, None], i) / (0.5 * (DIM + 1))
    data = densities.gaussian(jnp.zeros(DIM), covariance=walk)
    if name == "mixture":
        mean = 0.6 * (-1.0) ** jnp.arange(DIM)
        data = densities.mixture(jnp.array([0.3, 0.7]), [densities.gaussian(m, covariance=walk) for m in (mean, -mean)])
    return data, denoisers.exact_denoiser(data, SCHEDULE)


class Exact(NamedTuple):
    """The posteriors of N observations.

    Attributes:
      mean: ``E[x | y]``, ``(N, D)``.
      weights: of the components, ``(N, K)``; K is 1 for a Gaussian.
      log_evidence: ``log p(y)``, ``(N,)``.
    """

    mean: np.ndarray
    weights: np.ndarray
    log_evidence: np.ndarray


def condition(prior: densities.Gaussian, matrix: np.ndarray, y: np.ndarray, noise_std: float):
    """``p(x0 | y)`` and ``log p(y)`` of a Gaussian prior."""
    mean, c = np.asarray(prior.mean), np.asarray(prior.covariance())
    total = matrix @ c @ matrix.T + noise_std**2 * np.eye(len(matrix))
    gain, gap = c @ matrix.T @ np.linalg.inv(total), y - matrix @ mean
    rest = c - gain @ matrix @ c
    log_p = -0.5 * (gap @ np.linalg.solve(total, gap) + np.linalg.slogdet(2 * np.pi * total)[1])
    return densities.gaussian(jnp.asarray(mean + gain @ gap), covariance=0.5 * (rest + rest.T)), log_p


def exact(data: Data, matrix: Array, y: Array, noise_std: float) -> Exact:
    """The exact posteriors of the observations ``y`` ``(N, 64)``."""
    rows = np.flatnonzero(np.abs(np.asarray(matrix)).sum(1) > 1e-6)
    observed, a = np.asarray(y, float)[:, rows], np.asarray(matrix, float)[rows]
    if isinstance(data, densities.Mixture):
        parts, log_prior = [data.component(k) for k in range(2)], np.asarray(data.log_weights)
    else:
        parts, log_prior = [data], np.zeros(1)
    posteriors = [[condition(part, a, each, noise_std) for part in parts] for each in observed]
    log_joint = np.array([[log_p for _, log_p in each] for each in posteriors]) + log_prior
    log_evidence = np.logaddexp.reduce(log_joint, axis=1)
    weights = np.exp(log_joint - log_evidence[:, None])
    means = np.array([[np.asarray(posterior.mean) for posterior, _ in each] for each in posteriors])
    return Exact(np.einsum("nk,nkd->nd", weights, means), weights, log_evidence)
