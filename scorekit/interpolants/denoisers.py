"""The expected parts of a state of an interpolant, from networks and from exact densities.

Args:
  interpolant: scales of the state.

Returns:
  ``(x_t, t) -> Ends``.

>>> from scorekit.densities import gaussian
>>> from scorekit.interpolants import linear
>>> network, x = (lambda x, t: (0 * x, x)), jnp.ones(1)
>>> Ends(*ends_denoiser(network, linear(noise=1.0))(x, 0.5)).z
Array([1.], dtype=float32)
>>> paired_denoiser(lambda x, t: 0 * x, linear(noise=1.0), x)(x, 0.5).z
Array([1.], dtype=float32)
>>> joint = gaussian(jnp.zeros(2), covariance=jnp.array([[1.0, 0.5], [0.5, 1.0]]))
>>> exact_ends(joint, linear())(x, 1.0).x0  # the regression of x0 on x1
Array([0.5], dtype=float32)

Source: Albergo et al. 2023 (https://arxiv.org/abs/2303.08797).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_axes, check_floating, check_like, check_per_example, check_time
from scorekit.densities import Gaussian, Mixture
from scorekit.interpolants.scales import Interpolant
from scorekit.interpolants.velocities import velocity
from scorekit.predictions import Velocity
from scorekit.schedules import rectified_flow
from scorekit.trees import as_pytree, combine
from scorekit.typing import Array, Denoiser, Network, Prediction, PyTree

__all__ = ["Ends", "ends_denoiser", "exact_ends", "paired_denoiser", "velocity_denoiser"]


class Ends(NamedTuple):
    """The expectations of both ends and of the noise given x_t, ``alpha x0 + beta x1 + gamma z = x_t``.

    Attributes:
      x0: ``E[x0 | x_t]``.
      x1: ``E[x1 | x_t]``.
      z: ``E[z | x_t]``; 0 where gamma is 0.
    """

    x0: PyTree
    x1: PyTree
    z: PyTree


def _with_noise(x0: PyTree, x1: PyTree, x_t: PyTree, t: Array, interpolant: Interpolant) -> Ends:
    gamma = interpolant.gamma(t)
    inverse = jnp.where(gamma > 0, 1.0 / jnp.where(gamma > 0, gamma, 1.0), 0.0)
    terms = ((inverse, x_t), (-interpolant.alpha(t) * inverse, x0), (-interpolant.beta(t) * inverse, x1))
    return Ends(x0, x1, combine(*terms))


def _of_network(network, interpolant, x_t, t):
    x0, x1 = network(x_t, t)
    check_like("x_t", x_t, x0=x0, x1=x1)
    return _with_noise(x0, x1, x_t, jnp.asarray(t), interpolant)


@checked
def ends_denoiser(network: Callable[[PyTree, Array], tuple[PyTree, PyTree]], interpolant: Interpolant) -> Denoiser:
    """The denoiser of a network that predicts both ends: ``z = (x_t - alpha x0 - beta x1) / gamma``.

    Args:
      network: ``(x_t, t) -> (x0, x1)``, trained with the target "ends".
    """
    return Partial(_of_network, as_pytree(network), interpolant)


def _of_pair(network, interpolant, x1, x_t, t):
    x0 = network(x_t, t)
    check_like("x_t", x_t, x0=x0, x1=x1)
    return _with_noise(x0, x1, x_t, jnp.asarray(t), interpolant)


@checked
def paired_denoiser(network: Network, interpolant: Interpolant, x1: PyTree) -> Denoiser:
    """The denoiser between pairs, where x1 is known: ``z = (x_t - alpha x0 - beta x1) / gamma``.

    Args:
      network: ``(x_t, t) -> x0``, trained with the target "x0"; it should see x1 too, as a condition.
      x1: known ends, such as the degraded examples, a tree of ``(B, ...)`` arrays.

    Source: Liu et al. 2023 (https://arxiv.org/abs/2302.05872); Zheng et al. 2024 (https://arxiv.org/abs/2405.15885).
    """
    check_floating(x1=x1)
    return Partial(_of_pair, as_pytree(network), interpolant, x1)


def _velocity_prediction(denoiser, interpolant, x_t, t) -> Prediction:
    ends: Ends = denoiser(x_t, t)
    speed = velocity(ends.x0, ends.x1, ends.z, t, interpolant)
    return Velocity().to_prediction(speed, x_t, jnp.asarray(t), rectified_flow())


@checked
def velocity_denoiser(denoiser: Callable[[PyTree, Array], Ends], interpolant: Interpolant) -> Denoiser:
    """The ODE of an interpolant for every deterministic solver, with the schedule ``rectified_flow()``.

    ``x0 = x_t - t v`` and ``eps = x_t + (1 - t) v``: whatever the interpolant, ``dx/dt = v``. A network that predicts
    the velocity itself needs only ``denoiser_from_network(network, rectified_flow(), "velocity")``.

    Args:
      denoiser: ``(x_t, t) -> Ends``.
      interpolant: scales of the state. With noise, start a little before t = 1 and end a little after 0, where gamma'
        is infinite.

    Returns:
      ``(x_t, t) -> Prediction``; start the solver at x1.

    >>> from scorekit import samplers, schedules, solvers
    >>> from scorekit.interpolants import linear
    >>> denoiser = velocity_denoiser(ends_denoiser(lambda x, t: (0 * x, x / t), linear()), linear())
    >>> samplers.sample(None, denoiser, schedules.rectified_flow(), solvers.Euler(), jnp.ones(1), [1.0, 0.5, 0.25])
    Array([0.25], dtype=float32)
    """
    return Partial(_velocity_prediction, as_pytree(denoiser), interpolant)


def _exact(joint: Mixture, interpolant: Interpolant, x_t: Array, t: Array) -> Ends:
    d = joint.dim // 2
    check_floating(x_t=x_t)
    check_axes(d, x_t=x_t)
    check_time(t=t)
    check_per_example(x_t, t=t)
    if jnp.ndim(t):
        return jax.vmap(lambda x, t: _exact(joint, interpolant, x, t))(x_t, t)
    alpha, beta, gamma = (scale(jnp.asarray(t)) for scale in (interpolant.alpha, interpolant.beta, interpolant.gamma))
    mixed = jnp.concatenate([alpha * jnp.eye(d), beta * jnp.eye(d)], axis=1)

    def one(log_weight, component):
        covariance = component.covariance()
        spread = mixed @ covariance @ mixed.T + gamma**2 * jnp.eye(d)
        centred = x_t - mixed @ component.mean
        whitened = jnp.linalg.solve(spread, centred.reshape(-1, d).T).T.reshape(centred.shape)
        log_p = -0.5 * (jnp.sum(centred * whitened, -1) + jnp.linalg.slogdet(spread)[1])
        return log_weight + log_p, component.mean + whitened @ mixed @ covariance, gamma * whitened

    log_p, ends, z = jax.vmap(one)(joint.log_weights, joint.components)
    weights = jax.nn.softmax(log_p, axis=0)[..., None]
    ends, z = jnp.sum(weights * ends, 0), jnp.sum(weights * z, 0)
    return Ends(ends[..., :d], ends[..., d:], z)


def exact_ends(joint: Gaussian | Mixture, interpolant: Interpolant) -> Denoiser:
    """The exact denoiser where the joint density of ``(x0, x1)`` is a Gaussian or a mixture; x_t is ``(..., D)``.

    For a component ``N(m, C)``, with ``A = [alpha I, beta I]`` and ``K = A C A' + gamma^2``,
    ``E[(x0, x1) | x_t] = m + C A' K^-1 (x_t - A m)`` and ``E[z | x_t] = gamma K^-1 (x_t - A m)``.

    Args:
      joint: density of ``(x0, x1)``, one after the other, of an even dimension 2 D; independent ends have a
        block-diagonal covariance.
    """
    if isinstance(joint, Gaussian):
        joint = Mixture(log_weights=jnp.zeros(1), components=jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], joint))
    if not isinstance(joint, Mixture) or joint.dim % 2:
        got = f"the dimension {joint.dim}" if isinstance(joint, Mixture) else repr(joint)
        raise ValueError(f"joint must be a Gaussian or a Mixture of an even dimension, got {got}")
    return Partial(_exact, joint, interpolant)
