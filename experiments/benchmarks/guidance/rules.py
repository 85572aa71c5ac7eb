"""The rules that are compared."""

from collections.abc import Callable

from scorekit import guidance
from scorekit.typing import Denoiser

LOW, HIGH = 0.15, 4.0
"""Bounds of the guidance interval, in sigma / alpha."""

RULES: dict[str, Callable[..., Denoiser]] = {
    "CFG": lambda c, u, s, g: guidance.classifier_free(c, u, g),
    "interval": lambda c, u, s, g: guidance.interval(guidance.classifier_free(c, u, g), c, s, LOW, HIGH),
    "increasing γ(t)": lambda c, u, s, g: guidance.classifier_free(c, u, guidance.weight_schedule(1.0, 2.0 * g - 1.0)),
    "rescale": lambda c, u, s, g: guidance.rescale(guidance.classifier_free(c, u, g), c, s, 0.7),
    "threshold": lambda c, u, s, g: guidance.dynamic_threshold(guidance.classifier_free(c, u, g), s, 0.99, 1.0),
    "APG": lambda c, u, s, g: guidance.apg(c, u, s, g, norm_threshold=2.5),
    "APG, momentum": lambda c, u, s, g: guidance.apg(c, u, s, g, momentum=-0.5, norm_threshold=2.5),
    "CFG++": lambda c, u, s, g: guidance.cfg_plus_plus(c, u, g / 10.0),  # at gamma / 10
    "CFG-Zero*": lambda c, u, s, g: guidance.cfg_zero_star(c, u, s, g),
    "tangential": lambda c, u, s, g: guidance.tangential(c, u, s, g),
    "frequency": lambda c, u, s, g: guidance.frequency_decoupled(c, u, g, (1.0, 0.5)),
}
"""``(cond, uncond, schedule, gamma) -> denoiser`` by the name in tables and plots."""
EULER = ("CFG++",)
"""Rules that are defined for DDIM."""
IMAGES = ("frequency", "threshold", "rescale")
"""Rules that are measured on images only."""
