"""Embeddings of the noise level and of the class label."""

import flax.linen as nn
import jax.numpy as jnp

from scorekit.typing import Array, ArrayLike


def fourier_features(noise: ArrayLike, features: int, *, lowest: float = 0.25, highest: float = 32.0) -> Array:
    """Sines and cosines of a scalar noise level at geometrically spaced angular frequencies.

    ``[sin(w_k c), cos(w_k c)]`` with ``w_k`` from ``lowest`` to ``highest``. The defaults suit a bounded level such
    as ``log_snr / 4`` in [-5, 5]: the slowest wave is monotone there and the fastest tells 0.05 apart.

    Args:
      noise: the noise level c, any shape.
      features: number of features, even and at least 4.
      lowest: smallest angular frequency, radians per unit of ``noise``.
      highest: largest angular frequency, radians per unit of ``noise``.

    Returns:
      float32 features, shape ``noise.shape + (features,)``.

    Raises:
      ValueError: if ``features`` is odd or below 4.

    >>> fourier_features(jnp.zeros(5), 64).shape
    (5, 64)
    """
    if features % 2 or features < 4:
        raise ValueError(f"features must be even and at least 4, got {features}")
    frequencies = jnp.geomspace(lowest, highest, features // 2, dtype=jnp.float32)
    angles = jnp.asarray(noise, jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class Conditioning(nn.Module):
    """One vector for the noise level and the class: ``silu(dense(silu(dense(fourier(c)))) + table[label])``.

    The label table has ``num_classes + 1`` rows; the last is the learned null token, used where ``label ==
    num_classes`` and for all examples when ``labels`` is None. A label above that gives NaN, never another class.

    Attributes:
      features: width of the vector.
      num_classes: number of classes; None for an unconditional network.
    """

    features: int
    num_classes: int | None = None

    @nn.compact
    def __call__(self, noise: ArrayLike, labels: ArrayLike | None, batch: int) -> Array:
        """Embeds a scalar or ``(B,)`` level and a scalar, ``(B,)`` or absent label; float32 ``(B, features)``."""
        noise = _per_example("noise", noise, batch)
        vector = fourier_features(noise, self.features)
        vector = nn.Dense(self.features, name="noise_in")(vector)
        vector = nn.Dense(self.features, name="noise_out")(nn.silu(vector))
        if self.num_classes is None:
            if labels is not None:
                raise ValueError("labels must be None for a network with num_classes=None")
        else:
            labels = self.num_classes if labels is None else labels
            labels = _per_example("labels", labels, batch)
            if not jnp.issubdtype(labels.dtype, jnp.integer):
                raise ValueError(f"labels must be integers, got dtype {labels.dtype}")
            vector += nn.Embed(self.num_classes + 1, self.features, name="labels")(labels)
        return nn.silu(vector)


def _per_example(name: str, value: ArrayLike, batch: int) -> Array:
    value = jnp.asarray(value)
    if value.shape not in ((), (batch,)):
        raise ValueError(f"{name} must be a scalar or have shape ({batch},), got shape {value.shape}")
    return jnp.broadcast_to(value, (batch,))
