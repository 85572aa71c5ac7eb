"""The loudness of the controls of the synthesiser, which timbre transfer keeps while timbre changes."""

import jax.numpy as jnp

from scorekit.arguments import Positive, checked
from scorekit.audio._checks import Rate, check_signal
from scorekit.audio.ddsp._responses import impulse_response
from scorekit.checks import check
from scorekit.typing import Array, ArrayLike

__all__ = ["loudness"]


@checked
def loudness(
    f0: ArrayLike, amplitudes: ArrayLike, bands: ArrayLike, sample_rate: Rate, *, floor: Positive = 1e-3
) -> Array:
    """The logarithm of the root mean square of the sound of :func:`.synthesise`, frame by frame.

    ``log(sum_k a_k^2 / 2 + sum_n h[n]^2 + floor^2) / 2``: of partials that are resolved, and of noise of unit variance
    through the filter h of the bands, as in :func:`.filtered_noise`. It does not depend on phases.

    Args:
      f0: frequencies of the first partial ``(..., frames)`` in Hz, >= 0.
      amplitudes: amplitudes of the partials ``(..., frames, K)``; those at or above half the sample rate do not count.
      bands: magnitudes of the noise ``(..., frames, bands)``, >= 0, at least 2 bands.
      sample_rate: sample rate in Hz.
      floor: root mean square of silence; a full-scale sine has 0.707.

    Returns:
      float32 ``(..., frames)``, in nepers: 1 is 8.7 dB.

    >>> sine = jnp.full(5, 100.0), jnp.ones((5, 1)), jnp.zeros((5, 9))
    >>> round(float(jnp.exp(loudness(*sine, 1000.0)[0])), 3)
    0.707

    Source: Engel et al. 2020 (https://arxiv.org/abs/2001.04643), loudness as a control, there A-weighted.
    """
    check_signal("(..., frames)", f0=f0)
    check_signal("(..., frames, K)", amplitudes=amplitudes)
    check_signal("(..., frames, bands)", bands=bands)
    check(lambda f: jnp.isfinite(f) & (f >= 0), "finite and >= 0", f0=f0, bands=bands)
    check(jnp.isfinite, "finite", amplitudes=amplitudes)
    f0, amplitudes, bands = (jnp.asarray(a, jnp.float32) for a in (f0, amplitudes, bands))
    for name, found in (("amplitudes", amplitudes), ("bands", bands)):
        if found.shape[:-1] != f0.shape:
            raise ValueError(f"{name} must have the frames {f0.shape} of f0, got {found.shape}")
    if bands.shape[-1] < 2:
        raise ValueError(f"bands must be at least 2, got {bands.shape[-1]}")
    audible = jnp.arange(1, amplitudes.shape[-1] + 1) * f0[..., None] < 0.5 * sample_rate
    tones = 0.5 * jnp.sum(jnp.where(audible, amplitudes, 0.0) ** 2, -1)
    noise = jnp.sum(impulse_response(bands) ** 2, -1)
    return 0.5 * jnp.log(tones + noise + floor**2)
