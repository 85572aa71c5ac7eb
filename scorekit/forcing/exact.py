"""The exact denoiser of a Gaussian process at a level for each frame, of all frames or of those before."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check_floating, check_levels, check_time
from scorekit.densities import Gaussian
from scorekit.numerics.meshes import repeat_rows
from scorekit.typing import Array, Denoiser, Prediction, Schedule


@checked
def exact_denoiser(density: Gaussian, schedule: Schedule, frames: PositiveInt, causal: bool = False) -> Denoiser:
    """``E[x0 | x_t]`` and ``E[eps | x_t]`` of a Gaussian whose frames have individual levels, by conditioning.

    With ``A`` and ``S`` the diagonal matrices of the alpha and sigma of each frame and ``A C A + S^2 = L L^T``, the
    innovations ``z = L^-1 (x_t - A m)`` are independent, and ``E[x0 | x_t] = m + C A L^-T z``, ``E[eps | x_t] = S L^-T
    z``. A causal denoiser, ``E[x0_i | x_j, j <= i]``, keeps the innovations of frames up to i.

    Args:
      density: density of all values of an example in the order of the frames, of dimension ``T K``.
      schedule: the noise schedule.
      frames: number of frames T; it divides the dimension.
      causal: whether a frame is predicted from itself and the previous frames alone.

    Returns:
      A denoiser of ``x_t`` ``(B, T, K)`` at ``t``, a scalar, ``(B,)`` or ``(B, T)``.

    >>> from scorekit import densities, schedules
    >>> pair = densities.gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.8], [0.8, 1.0]]))
    >>> x, t = jnp.ones((1, 2, 1)), jnp.array([[0.0, 1.0]])  # the first is clean, the second noise
    >>> print(exact_denoiser(pair, schedules.Cosine(), 2)(x, t).x0[0, :, 0].round(3))
    [1.  0.8]
    """
    if not isinstance(density, Gaussian):
        raise ValueError(f"density must be a Gaussian, got {density!r}")
    if density.dim % frames:
        raise ValueError(f"frames must divide the dimension {density.dim} of the density, got {frames}")
    size = density.dim // frames
    of_frame = np.arange(density.dim) // size
    seen = of_frame[:, None] >= of_frame if causal else np.ones((density.dim, density.dim), bool)
    return Partial(_exact, density, schedule, jnp.asarray(seen, jnp.float32).reshape(frames, size, frames, size))


def _exact(density: Gaussian, schedule: Schedule, seen: Array, x_t: Array, t: Array) -> Prediction:
    frames, size = seen.shape[:2]
    check_floating(x_t=x_t)
    if jnp.ndim(x_t) != 3 or jnp.shape(x_t)[1:] != (frames, size):
        raise ValueError(f"x_t must have shape (B, {frames}, {size}), got {jnp.shape(x_t)}")
    check_time(t=t)
    check_levels(x_t, t=t)
    t = jnp.asarray(t)
    t = jnp.broadcast_to(t[:, None] if t.ndim == 1 else t, x_t.shape[:2])
    covariance, mask = density.covariance(), seen.reshape(frames * size, -1)

    def one(x, t):
        alpha, sigma = (repeat_rows(value(t), size) for value in (schedule.alpha, schedule.sigma))
        factor = jnp.linalg.cholesky(alpha[:, None] * covariance * alpha + jnp.diag(sigma**2))
        centred = x.reshape(-1) - alpha * density.mean
        # solved together: batched solves that run at once can block each other in the thread pool of jaxlib 0.10
        right = jnp.concatenate([centred[:, None], alpha[:, None] * covariance, jnp.diag(sigma)], axis=1)
        found = jax.scipy.linalg.solve_triangular(factor, right, lower=True)
        z, signal, noise = found[:, 0], found[:, 1 : 1 + len(centred)].T, found[:, 1 + len(centred) :].T
        x0, eps = density.mean + (mask * signal) @ z, (mask * noise) @ z
        return Prediction(x0.reshape(x.shape).astype(x.dtype), eps.reshape(x.shape).astype(x.dtype))

    return jax.vmap(one)(x_t, t)
