"""Exact laws as NumPy callables: Gaussians, mixtures, a ring.

Everything is float64 and free of JAX, so that the denoisers can replace a network of any package. Noisy states are
``x = alpha x0 + sigma eps``, by default with ``alpha = 1``; sigma and alpha are scalars or one for each row of x.

>>> problem = gaussian([0.0, 0.0], [[1.0, 0.5], [0.5, 1.0]])
>>> problem.denoiser(np.array([[2.0, 2.0]]), sigma=1.0).round(2).tolist()
[[1.2, 1.2]]
>>> mixture(np.ones(2), np.eye(2), np.stack([np.eye(2)] * 2)).mean.tolist()
[0.5, 0.5]
>>> ring().dim
2
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from scorekit.arguments import NonNegative, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_real
from scorekit.typing import ArrayLike

_Numbers: TypeAlias = ArrayLike | Sequence[Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Mixture:
    """``sum_k w_k N(m_k, U_k diag(v_k) U_k^T)``; build it with :func:`gaussian`, :func:`mixture` or :func:`ring`.

    Attributes:
      weights: w, ``(K,)``.
      means: m, ``(K, D)``.
      bases: U, ``(K, D, D)``, orthonormal columns.
      variances: v, ``(K, D)``.

    >>> problem, x = ring(), np.array([[1.3, 0.0]])
    >>> problem.responsibilities(x).argmax(), problem.score(x).round(2).tolist()
    (np.int64(0), [[10.0, 0.0]])
    >>> problem.flow(x, start=0.0, end=1.0).round(2).tolist()
    [[0.81, -0.0]]
    >>> problem.posterior([[1.0, 0.0]], [1.4], noise=0.1).mean.round(2).tolist()
    [1.39, 0.0]
    """

    weights: np.ndarray
    means: np.ndarray
    bases: np.ndarray
    variances: np.ndarray

    @property
    def dim(self) -> int:
        """The number of dimensions, D."""
        return self.means.shape[1]

    @property
    def mean(self) -> np.ndarray:
        """The mean, ``(D,)``."""
        return self.weights @ self.means

    @property
    def covariances(self) -> np.ndarray:
        """The covariance of each component, ``(K, D, D)``."""
        return np.einsum("kde,ke,kfe->kdf", self.bases, self.variances, self.bases)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance, ``(D, D)``."""
        offsets = self.means - self.mean
        return np.einsum("k,kde->de", self.weights, self.covariances + offsets[:, :, None] * offsets[:, None])

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws ``(n, D)``."""
        of = rng.choice(len(self.weights), n, p=self.weights)
        z = np.sqrt(self.variances)[of] * rng.standard_normal((n, self.dim))
        return self.means[of] + np.einsum("nde,ne->nd", self.bases[of], z)

    def marginal(self, alpha: float, sigma: float) -> "Mixture":
        """The law of ``alpha x0 + sigma eps``; alpha and sigma are scalars."""
        return Mixture(self.weights, alpha * self.means, self.bases, alpha**2 * self.variances + sigma**2)

    @functools.cached_property
    def _columns(self):
        """The bases side by side, ``(D, K D)``."""
        return self.bases.transpose(1, 0, 2).reshape(self.dim, -1)

    def _parts(self, x, sigma, alpha):
        """Offsets and variances along the bases, ``(N, K, D)``, and the log of each weighted density, ``(N, K)``."""
        check_real(x=np.asarray(x), sigma=np.asarray(sigma), alpha=np.asarray(alpha))
        alpha, sigma = (np.reshape(np.asarray(each, float), (-1, 1, 1)) for each in (alpha, sigma))
        along = (np.asarray(x, float) @ self._columns).reshape(-1, *self.means.shape)
        z = along - alpha * (self.means[:, None] @ self.bases)[:, 0]
        variances = alpha**2 * self.variances + sigma**2
        return z, variances, np.log(self.weights) - 0.5 * np.sum(z**2 / variances + np.log(2 * np.pi * variances), -1)

    def log_density(self, x: np.ndarray, sigma: ArrayLike = 0.0, alpha: ArrayLike = 1.0) -> np.ndarray:
        """``log p(x)`` in nats, ``(N,)``."""
        return np.logaddexp.reduce(self._parts(x, sigma, alpha)[2], axis=1)

    def responsibilities(self, x: np.ndarray, sigma: ArrayLike = 0.0, alpha: ArrayLike = 1.0) -> np.ndarray:
        """``p(component | x)``, ``(N, K)``.

        Args:
          x: points ``(N, D)``.
          sigma, alpha: standard deviation of the noise and factor of the signal, scalars or ``(N,)``.
        """
        return _softmax(self._parts(x, sigma, alpha)[2])

    def score(self, x: np.ndarray, sigma: ArrayLike = 0.0, alpha: ArrayLike = 1.0) -> np.ndarray:
        """The gradient of the log-density, ``(N, D)``.

        Args:
          x: points ``(N, D)``.
          sigma, alpha: standard deviation of the noise and factor of the signal, scalars or ``(N,)``.
        """
        z, variances, logits = self._parts(x, sigma, alpha)
        return -(_softmax(logits)[..., None] * z / variances).reshape(len(z), -1) @ self._columns.T

    def denoiser(self, x: np.ndarray, sigma: ArrayLike, alpha: ArrayLike = 1.0) -> np.ndarray:
        """``E[x0 | alpha x0 + sigma eps = x]``, ``(N, D)``.

        Args:
          x: points ``(N, D)``.
          sigma, alpha: standard deviation of the noise and factor of the signal, scalars or ``(N,)``.
        """
        z, variances, logits = self._parts(x, sigma, alpha)
        shares, gain = _softmax(logits), np.reshape(np.asarray(alpha, float), (-1, 1, 1)) * self.variances / variances
        return shares @ self.means + (shares[..., None] * gain * z).reshape(len(z), -1) @ self._columns.T

    def flow(self, x: np.ndarray, start: float, end: float, steps: int = 600) -> np.ndarray:
        """The probability-flow map of ``x0 + sigma eps`` between two noise levels, ``(N, D)``, by fine RK4 steps.

        It is ``dz / da = cos(a) eps - sin(a) x0`` for ``z = x / sqrt(1 + sigma^2)`` and ``sigma = tan(a)``, regular at
        both ends.

        Args:
          x: points ``(N, D)``.
          start: sigma of x.
          end: sigma of the result; may be 0.
          steps: number of steps.
        """

        def slope(z, a):
            sine, cosine = np.sin(a), np.cos(a)
            return -cosine * sine * self.score(z, sine, cosine) - sine * self.denoiser(z, sine, cosine)

        angles = np.linspace(np.arctan(start), np.arctan(end), steps + 1)
        z, h = np.asarray(x, float) * np.cos(angles[0]), angles[1] - angles[0]
        for a in angles[:-1]:
            first = slope(z, a)
            second = slope(z + 0.5 * h * first, a + 0.5 * h)
            third = slope(z + 0.5 * h * second, a + 0.5 * h)
            z = z + h / 6 * (first + 2 * second + 2 * third + slope(z + h * third, a + h))
        return z / np.cos(angles[-1])

    def posterior(self, operator: _Numbers, observation: _Numbers, noise: float) -> "Mixture":
        """The law of x0 given ``y = A x0 + noise n``: again a mixture, without components whose weight is 0.

        Args:
          operator: A, ``(M, D)``.
          observation: y, ``(M,)``.
          noise: standard deviation of the noise of y, above 0.
        """
        check(lambda value: value > 0, "> 0", noise=noise)
        check_finite(operator=operator, observation=observation)
        a, y, c = np.asarray(operator, float), np.asarray(observation, float), self.covariances
        if a.shape != (*y.shape, self.dim):
            raise ValueError(f"operator must have shape (M, {self.dim}) and observation (M,), got {a.shape}, {y.shape}")
        s = a @ c @ a.T + noise**2 * np.eye(len(y))
        gain, rest = np.linalg.solve(s, a @ c).swapaxes(1, 2), y - self.means @ a.T
        fit = np.einsum("km,km->k", rest, np.linalg.solve(s, rest[..., None])[..., 0]) + np.linalg.slogdet(s)[1]
        weights = self.weights * np.exp(-0.5 * (fit - fit.min()))
        left = np.eye(self.dim) - gain @ a  # the sum of two squares stays positive for little noise
        spread = left @ c @ left.swapaxes(1, 2) + noise**2 * gain @ gain.swapaxes(1, 2)
        return mixture(weights, self.means + np.einsum("kdm,km->kd", gain, rest), spread)


def _softmax(logits):
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@checked
def mixture(weights: NonNegative[_Numbers], means: _Numbers, covariances: _Numbers) -> Mixture:
    """A mixture of Gaussians.

    Args:
      weights: weights of the components, ``(K,)``; normalised here.
      means: their means, ``(K, D)``.
      covariances: their covariances, ``(K, D, D)``, symmetric positive definite.
    """
    check_finite(means=means, covariances=covariances)
    w, m, c = (np.asarray(each, float) for each in (weights, means, covariances))
    if w.ndim != 1 or m.ndim != 2 or len(w) != len(m) or c.shape != (*m.shape, m.shape[1]):
        shapes = f"{w.shape}, {m.shape}, {c.shape}"
        raise ValueError(f"weights, means, covariances must have shapes (K,), (K, D), (K, D, D), got {shapes}")
    check(lambda total: total > 0, "> 0", **{"sum of weights": w.sum()})
    variances, bases = np.linalg.eigh(0.5 * (c + c.swapaxes(1, 2)))
    check(lambda value: value > 0, "> 0", **{"eigenvalues of covariances": variances})
    keep = w > 0
    return Mixture((w / w.sum())[keep], m[keep], bases[keep], variances[keep])


@checked
def gaussian(mean: _Numbers, covariance: _Numbers) -> Mixture:
    """A Gaussian, as a mixture of one component.

    Args:
      mean: the mean, ``(D,)``.
      covariance: the covariance, ``(D, D)``, symmetric positive definite.
    """
    return mixture([1.0], np.asarray(mean)[None], np.asarray(covariance)[None])


@checked
def ring(num_modes: PositiveInt = 8, radius: NonNegative[float] = 1.4, std: Positive[float] = 0.1) -> Mixture:
    """A mixture of equal isotropic Gaussians on a circle in the plane, mode k at angle ``2 pi k / num_modes``.

    Args:
      num_modes: number of modes K.
      radius: radius of the circle.
      std: standard deviation of each mode.
    """
    angles = 2 * np.pi * np.arange(num_modes) / num_modes
    means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return mixture(np.ones(num_modes), means, np.tile(std**2 * np.eye(2), (num_modes, 1, 1)))
