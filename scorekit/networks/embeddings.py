"""Embeddings of the noise level and of the conditions.

>>> fourier_features(jnp.zeros(5), 64).shape
(5, 64)
>>> timestep_features(jnp.zeros(2), 4)
Array([[1., 1., 0., 0.],
       [1., 1., 0., 0.]], dtype=float32)
>>> with_new_parameters({"dense": {"bias": 1.0}}, {"dense": {"bias": 0.0}, "scalars": {"bias": 0.0}})
{'dense': {'bias': 1.0}, 'scalars': {'bias': 0.0}}
"""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import NonNegativeInt, Positive, PositiveInt, checked
from scorekit.checks import check
from scorekit.networks._conditions import OrNull, as_labels, as_masked, per_example, per_position
from scorekit.networks._module import Module
from scorekit.typing import Array, ArrayLike


@checked
def fourier_features(
    noise: ArrayLike, features: PositiveInt, *, lowest: Positive[float] = 0.25, highest: Positive[float] = 32.0
) -> Array:
    """Sines and cosines of a scalar noise level at geometrically spaced angular frequencies.

    ``[sin(w_k c), cos(w_k c)]`` with ``w_k`` from ``lowest`` to ``highest``. The defaults suit a bounded noise level
    such as ``log_snr / 4`` in [-5, 5]: the slowest wave is monotone there and the fastest resolves 0.05. The features
    are a last axis.

    Args:
      noise: the noise level c, any shape.
      features: number of features, even and at least 4.
      lowest: smallest angular frequency, radians per unit of ``noise``.
      highest: largest angular frequency, above ``lowest``.

    Source: Tancik et al. 2020, "Fourier features let networks learn high frequency functions in low dimensional
    domains" (https://arxiv.org/abs/2006.10739), with geometric instead of random frequencies.
    """
    check(lambda w: w > lowest, f"finite and > lowest = {lowest}", highest=highest)
    if features % 2 or features < 4:
        raise ValueError(f"features must be even and at least 4, got {features}")
    frequencies = jnp.geomspace(lowest, highest, features // 2, dtype=jnp.float32)
    angles = jnp.asarray(noise, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


@checked
def timestep_features(timestep: ArrayLike, features: PositiveInt) -> Array:
    """Sinusoidal embedding of a timestep: cosines, then sines, at geometrically spaced angular frequencies.

    ``[cos(w_k t), sin(w_k t)]`` with ``w_k = 10,000 ** (-2 k / features)``, from 1 down to nearly 1e-4 radians. Suits
    timesteps t in [0, 1000); see :func:`fourier_features` for a noise level of order one. The features are a last axis.

    Args:
      timestep: t, any shape; need not be an integer.
      features: number of features, even.

    Source: Vaswani et al. 2017 (https://arxiv.org/abs/1706.03762), in the order of Dhariwal & Nichol 2021
    (https://arxiv.org/abs/2105.05233).
    """
    if features % 2:
        raise ValueError(f"features must be even, got {features}")
    frequencies = np.float32(10_000.0 ** (-np.arange(0, features, 2) / features))
    angles = jnp.asarray(timestep, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class Conditioning(Module):
    """One embedding of the noise level, the class and the vector:
    ``silu(dense(silu(dense(fourier(c)))) + table[label] + dense(vector))``.

    The label table has ``num_classes + 1`` rows; the last is the learned null token, used where ``label ==
    num_classes`` and for all examples when ``labels`` is None. Labels out of range give NaN. Where the vector is
    absent, a learned null token replaces ``dense(vector)``. Each further hidden layer is ``silu(dense(.))``:
    interactions of class and vector (how each pitch of an instrument sounds) need at least one.

    Attributes:
      features: width of the embedding.
      num_classes: number of classes; None for a network without classes.
      vector_size: length of the conditioning vector; None for a network without one.
      layers: further hidden layers.
      noise_features: maps noise levels ``(B,)`` to features ``(B, any)``, in place of :func:`fourier_features`.
    """

    features: PositiveInt
    num_classes: PositiveInt | None = None
    vector_size: PositiveInt | None = None
    layers: NonNegativeInt = 0
    noise_features: Callable[[Array], Array] | None = None

    @checked
    @nn.compact
    def __call__(
        self,
        noise: ArrayLike,
        labels: ArrayLike | None,
        batch: NonNegativeInt,
        vector: Any = None,
        scalars: ArrayLike | None = None,
        positions: int | None = None,
    ) -> Array:
        """The embedding, float32 ``(B, features)``; with noise levels of positions ``(B, T, features)``.

        Args:
          noise: noise level of order one, such as ``log_snr / 4``, scalar or ``(B,)``.
          labels: integer labels, scalar or ``(B,)``, or None.
          batch: number B of examples.
          vector: ``(B, C)``, a :class:`Masked`, or None.
          scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``, such as the jump of a flow map, or
            None.
          positions: number T of positions, for noise levels ``(B, T)``; None: one level for each example.
        """
        noise = per_position("noise", noise, batch, positions)
        each = lambda embedded: embedded[:, None] if noise.ndim == 2 else embedded
        embed = self.noise_features
        total = fourier_features(noise, self.features) if embed is None else embed(noise)
        total = nn.Dense(self.features, name="noise_in")(total)
        total = nn.Dense(self.features, name="noise_out")(nn.silu(total))
        labels = as_labels(labels, self.num_classes, batch)
        if self.num_classes is not None:
            unit = nn.initializers.normal(1.0)  # comparable to the noise embedding: classes are learned early
            total += each(nn.Embed(self.num_classes + 1, self.features, embedding_init=unit, name="labels")(labels))
        shape = None if self.vector_size is None else (self.vector_size,)
        given = as_masked("vector", vector, shape, batch)
        if given is not None:
            embedded = nn.Dense(self.features, name="vector")(given.value)
            total += each(OrNull(name="vector_or_null")(embedded, given.present))
        if scalars is not None:
            total += each(_Scalars(self.features, name="scalars")(scalars, batch))
        total = nn.silu(total)
        for i in range(self.layers):
            total = nn.silu(nn.Dense(self.features, name=f"hidden_{i}")(total))
        return total


class _Scalars(nn.Module):
    """``dense0(silu(dense(fourier(scalars))))``: zero at initialisation, so that a network that gains scalars computes
    the same output as without them. Each scalar, of order one, is embedded by :func:`fourier_features` up to 8 radians
    per unit: the derivative of a flow map along its path contains the derivative of the embedding."""

    features: int

    @nn.compact
    def __call__(self, scalars: ArrayLike, batch: int) -> Array:
        """Embeds scalars: one, ``(B,)`` or ``(B, K)``; float32 ``(B, features)``."""
        scalars = jnp.asarray(scalars, jnp.float32)
        if scalars.ndim == 2 and scalars.shape[0] == batch:
            each = scalars
        else:
            each = per_example("scalars", scalars, batch)[:, None]
        waves = fourier_features(each, 32, highest=8.0).reshape(batch, -1)
        hidden = nn.silu(nn.Dense(self.features, name="in")(waves))
        return nn.Dense(self.features, kernel_init=nn.initializers.zeros, name="out")(hidden)


def with_new_parameters(trained: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a trained network, completed with fresh parameters where it has none.

    With these parameters a network initialised with ``scalars`` computes the output of the trained network.

    Args:
      trained: the variables of the trained network, each of the shape of a fresh one.
      fresh: the variables of the same network after ``init`` with the new inputs.
    """
    if extra := set(trained) - set(fresh):
        raise ValueError(f"trained must hold no parameters that fresh lacks, got {', '.join(sorted(extra))}")
    found = {}
    for name, value in fresh.items():
        old = trained.get(name, value)
        if isinstance(value, Mapping) != isinstance(old, Mapping):
            raise ValueError(f"trained must have the structure of fresh, which differs at {name}")
        if isinstance(value, Mapping):
            found[name] = with_new_parameters(old, value)
        elif jnp.shape(old) != jnp.shape(value):
            raise ValueError(
                f"trained must have the shapes of fresh, {jnp.shape(value)} at {name}, got {jnp.shape(old)}"
            )
        else:
            found[name] = old
    return found
