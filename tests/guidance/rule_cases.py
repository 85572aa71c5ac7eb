"""What the tests of guidance share: a mixture whose denoisers are exact, one shape, and every rule of two branches."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, guidance, schedules

SCHEDULE = schedules.cosine()
DATA = densities.ring(num_modes=3, std=0.3)
UNCOND = denoisers.exact_denoiser(DATA, SCHEDULE)
COND = denoisers.exact_denoiser(DATA.component(1), SCHEDULE)
X = jax.random.normal(jax.random.key(0), (5, 6, 2))  # five signals of six points of the plane
T = jnp.float32(0.4)

PAIRS = {  # (cond, uncond, schedule, gamma) -> denoiser; all equal to cond at gamma = 1, and where the two are equal
    "classifier_free": lambda c, u, s, g: guidance.classifier_free(c, u, g),
    "autoguidance": lambda c, u, s, g: guidance.autoguidance(c, u, g),
    "compose": lambda c, u, s, g: guidance.compose(u, [c], [g]),
    "negative": lambda c, u, s, g: guidance.negative(c, u, u, g, 3.0),
    "apg": lambda c, u, s, g: guidance.apg(c, u, s, g, parallel=0.3, norm_threshold=0.5),
    "momentum": lambda c, u, s, g: guidance.apg(c, u, s, g, momentum=0.4),
    "cfg_zero_star": lambda c, u, s, g: guidance.cfg_zero_star(c, u, s, g),
    "tangential": lambda c, u, s, g: guidance.tangential(c, u, s, g),
    "frequency_decoupled": lambda c, u, s, g: guidance.frequency_decoupled(c, u, [g, g, g]),
    "interval": lambda c, u, s, g: guidance.interval(guidance.classifier_free(c, u, g), c, s, 0.1, 10.0),
    "rescale": lambda c, u, s, g: guidance.rescale(guidance.classifier_free(c, u, g), c, s),
    "nested": lambda c, u, s, g: guidance.rescale(guidance.interval(guidance.apg(c, u, s, g), c, s), c, s),
}


def same(one, other, rtol=1e-5, atol=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), one, other)


def once(rule, x, t):
    """The first prediction of a rule, with memory or without."""
    return guidance.predict(rule, guidance.init_denoiser_state(rule, x), x, t)[0]
