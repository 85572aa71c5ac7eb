"""Layers that preserve the magnitude of their input, its root mean square: unit variance in, unit variance out.

Weights are normalised where they are used and there are no biases, so that activations neither grow nor vanish however
long the network is trained.

Source: Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion models"
(https://arxiv.org/abs/2312.02696).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit import trees
from scorekit.arguments import Positive, PositiveInt
from scorekit.networks._module import Module
from scorekit.networks._spatial import DType
from scorekit.typing import Array, ArrayLike, Key, PyTree

SILU_MAGNITUDE = 0.596
"""The root mean square of ``silu(x)`` for standard normal x."""


def normalise(x: Array, axes: int | Sequence[int]) -> Array:
    """Divides by the magnitude over some axes: ``x / (1e-4 + sqrt(mean(x^2)))``.

    Of the shape and dtype of ``x``, the mean in float32; zero, with a zero gradient, where ``x`` is.
    """
    square = jnp.square(x.astype(jnp.float32)).mean(axes, keepdims=True)
    return x / (1e-4 + jnp.sqrt(square + 1e-30)).astype(x.dtype)  # the gradient of the root is infinite at 0


def normalise_weights(params: PyTree) -> PyTree:
    """Forced weight normalisation: every weight divided by its magnitude, once the optimiser has updated it.

    The forward pass normalises the weights anyway; what this keeps is the size of an update relative to its weight,
    which falls as the weights grow.

    Args:
      params: parameters of a network whose arrays of two axes or more are all magnitude-preserving weights
        ``(..., out)`` (:class:`~scorekit.networks.EDM2`); they are normalised over all axes but the last. Others, gains
        and constants, are left alone.

    >>> unit = normalise_weights({"kernel": jnp.array([[3.0], [4.0]]), "gain": jnp.array(2.0)})
    >>> [round(float(w), 2) for w in unit["kernel"][:, 0]], float(unit["gain"])
    ([0.85, 1.13], 2.0)
    """
    return jax.tree.map(lambda w: normalise(w, range(w.ndim - 1)) if jnp.ndim(w) > 1 else w, params)


def mp_silu(x: Array) -> Array:
    """``silu(x) / 0.596``."""
    return nn.silu(x) / SILU_MAGNITUDE


def mp_sum(a: Array, b: Array, t: float) -> Array:
    """``((1 - t) a + t b) / sqrt((1 - t)^2 + t^2)``: of unit variance if a and b are, and independent."""
    return ((1 - t) * a + t * b) / math.hypot(1 - t, t)


def mp_cat(a: Array, b: Array) -> Array:
    """Concatenates channels, scaled so that each input contributes the same to the sum of squares.

    ``[a sqrt(n / (2 n_a)), b sqrt(n / (2 n_b))]`` with ``n = n_a + n_b`` channels.
    """
    half = (a.shape[-1] + b.shape[-1]) / 2
    return jnp.concatenate([a * math.sqrt(half / a.shape[-1]), b * math.sqrt(half / b.shape[-1])], axis=-1)


def unit_normal(key: Key, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """An initialiser: standard normal weights ``(..., out)``, normalised over all axes but the last."""
    return normalise(jax.random.normal(key, shape, dtype), range(len(shape) - 1))


class MPConv(nn.Module):
    """A convolution, with an empty window a dense layer: ``gain / sqrt(fan_in) normalise(w) * x``.

    It has no bias; ``ones`` appends a channel of ones to the input in place of it. The sides of the window are odd.
    """

    features: int
    window: Sequence[int] = ()
    dtype: DType = jnp.float32
    ones: bool = False

    @nn.compact
    def __call__(self, x: Array, gain: ArrayLike = 1.0) -> Array:
        x = x.astype(self.dtype)
        if self.ones:
            x = jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1)
        shape = (*self.window, x.shape[-1], self.features)
        weight = normalise(self.param("kernel", unit_normal, shape, jnp.float32), range(len(shape) - 1))
        weight = (weight * (gain / math.sqrt(math.prod(shape[:-1])))).astype(self.dtype)
        if math.prod(self.window) == 1:
            return x @ weight.reshape(shape[-2:])
        spatial = "HW"[: len(self.window)]
        layout = f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"
        return jax.lax.conv_general_dilated(x, weight, (1,) * len(spatial), "SAME", dimension_numbers=layout)


class MPFourier(nn.Module):
    """Random Fourier features ``sqrt(2) cos(w c + p)`` of a noise level c ``(B,)``: float32 ``(B, features)``.

    Frequencies w, normal with standard deviation 2 pi, and phases p, uniform in [0, 2 pi), are drawn once; they are
    variables of the collection ``constants``, which have no gradient.
    """

    features: int

    @nn.compact
    def __call__(self, noise: Array) -> Array:
        turns = lambda name, draw: jax.lax.stop_gradient(
            self.variable(
                "constants", name, lambda: 2 * jnp.pi * draw(self.make_rng("params"), (self.features,), jnp.float32)
            ).value
        )
        frequencies, phases = turns("frequencies", jax.random.normal), turns("phases", jax.random.uniform)
        return math.sqrt(2) * jnp.cos(noise.astype(jnp.float32)[..., None] * frequencies + phases)


class MPOrNull(nn.Module):
    """An embedding ``(B, ..., features)`` where it is present ``(B,)``, a learned null token of unit magnitude
    elsewhere."""

    @nn.compact
    def __call__(self, embedded: Array, present: Array) -> Array:
        null = normalise(self.param("null", unit_normal, (embedded.shape[-1], 1), jnp.float32), 0)[:, 0]
        return trees.where(present, embedded, jnp.broadcast_to(null.astype(embedded.dtype), embedded.shape))


class LogVariance(Module):
    """The log-variance u of the loss at a noise level, for :func:`scorekit.losses.uncertainty_weighted`.

    ``u(c) = w . sqrt(2) cos(f c + p) / sqrt(features)``: one normalised dense layer on random Fourier features. Trained
    with the network, it weights all noise levels equally; sampling does not use it.

    Attributes:
      features: number of Fourier features.
      noise_scale: as of the network that it is trained with; with 1 it is called with ``log(sigma) / 4``.
    """

    features: PositiveInt = 128
    noise_scale: Positive[float] = 0.5

    @nn.compact
    def __call__(self, noise: ArrayLike) -> Array:
        """u in float32, of the shape of ``noise``, of order one."""
        h = MPFourier(self.features, name="fourier")(self.noise_scale * jnp.asarray(noise, jnp.float32))
        return MPConv(1, name="dense")(h)[..., 0]
