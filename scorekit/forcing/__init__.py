"""Diffusion forcing: an individual noise level for every frame of a sequence.

States are trees of ``(B, T, ...)`` arrays, T frames, and a denoiser is ``(x_t, t) -> Prediction`` with ``t`` of shape
``(B, T)``: :func:`scorekit.denoisers.denoiser_from_network` makes one of a network that takes such times, and the rules
of :mod:`scorekit.guidance` wrap it; a rule with a norm takes it over the whole example.

:func:`denoising_loss` trains with independent levels. :func:`sample` follows a schedule of levels:
:func:`full_sequence`, :func:`autoregressive` or :func:`pyramid`. :func:`roll_out` and :func:`sample_long` draw
sequences of any length in a sliding window, with :func:`history_guidance` where wanted. :func:`exact_denoiser` is exact
for a Gaussian process. ``docs/forcing.md`` shows them together.

Source: Chen et al. 2024, "Diffusion forcing: next-token prediction meets full-sequence diffusion"
(https://arxiv.org/abs/2407.01392).
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.forcing.exact import exact_denoiser as exact_denoiser
    from scorekit.forcing.guidance import history_guidance as history_guidance
    from scorekit.forcing.levels import autoregressive as autoregressive
    from scorekit.forcing.levels import full_sequence as full_sequence
    from scorekit.forcing.levels import pyramid as pyramid
    from scorekit.forcing.losses import denoising_loss as denoising_loss
    from scorekit.forcing.losses import denoising_loss_at as denoising_loss_at
    from scorekit.forcing.losses import draw_times as draw_times
    from scorekit.forcing.rolling import RollOut as RollOut
    from scorekit.forcing.rolling import RollState as RollState
    from scorekit.forcing.rolling import roll_out as roll_out
    from scorekit.forcing.rolling import sample_long as sample_long
    from scorekit.forcing.sampling import sample as sample

__getattr__, __dir__ = attach(__name__)
