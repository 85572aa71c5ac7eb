"""Weighted particles of the guided joint, drawn from guided conditionals and corrected for their normalisation.

A guided conditional is normalised by ``Z_i(x_<i) = sum_x p(x | x_<i, y)^gamma p(x | x_<i)^(1 - gamma)``, which
ancestral sampling throws away. The guided joint is the law of the guided conditionals times the product of these:

    ``p(x | y)^gamma p(x)^(1 - gamma) = prod_i Z_i(x_<i) guided(x_i | x_<i)``.

Hence ``prod_i Z_i`` weights the sequences towards the joint. ``Z_i`` does not depend on ``x_i``: particles are weighted
and resampled before the value is drawn, so copies of a particle may draw different values.
"""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Fraction, PositiveInt, checked
from scorekit.autoregressive._checks import batch_axes, take_rows
from scorekit.autoregressive.guidance import GuidedModel
from scorekit.checks import check
from scorekit.numerics.codes import as_index, draw_codes, is_missing
from scorekit.numerics.meshes import scan
from scorekit.samplers import ParticleResult, log_mean_weight, resample_if_due
from scorekit.typing import Key, Number


@checked
def sample_joint(
    key: Key, model: GuidedModel, num_particles: PositiveInt, length: PositiveInt, *, threshold: Fraction[Number] = 0.5
) -> ParticleResult:
    """Weighted sequences of the guided joint ``p(x | y)^gamma p(x)^(1 - gamma)``, by sequential Monte Carlo.

    The particles are drawn from the guided conditionals, and the logarithm of a weight is the sum of the logarithms
    of ``Z_i``. With one particle it samples these conditionals (:func:`scorekit.autoregressive.sample`); the
    error of a mean falls as ``1 / sqrt(N)``, and ``E[exp(log_normalizer)]`` is the sum of the joint over all
    sequences with any number of them. Particles that were resampled share their beginnings: for independent sequences
    take one sequence from each of many runs. Where ``uncond`` is uniform the guided joint is the joint at the
    temperature ``1 / gamma``.

    Args:
      key: PRNG key.
      model: result of :func:`scorekit.autoregressive.classifier_free`, with a scalar scale and conditions that are the
        same for all particles: scalar labels.
      num_particles: N, the number of particles.
      length: L, the number of positions.
      threshold: particles are resampled where the effective sample size is below this fraction of N: 0 never, 1 always.

    Returns:
      A :class:`scorekit.samplers.ParticleResult` of codes ``(N, L)``, with ``ess`` before each position and at the end.

    Raises:
      ValueError: for conditions of single particles, or a joint that is NaN or 0 for all particles: if traced, the
        weights are NaN. Where a particle of weight 0 had no possible code, this code and its later codes are -1.

    >>> from scorekit.autoregressive import classifier_free, markov_chain
    >>> log = lambda *rows: jnp.log(jnp.array(rows))
    >>> cond = markov_chain(log(0.5, 0.5), log([0.9, 0.1], [0.5, 0.5]))  # both first codes are equally likely
    >>> uncond = markov_chain(log(0.5, 0.5), log([0.5, 0.5], [0.5, 0.5]))
    >>> run = jax.jit(sample_joint, static_argnums=(2, 3))
    >>> result = run(jax.random.key(0), classifier_free(cond, uncond, 2.0), 2000, 2)
    >>> first = jnp.sum(jnp.exp(result.log_weights) * (result.x[:, 0] == 0))
    >>> exact = (0.81 + 0.01) / (0.81 + 0.01 + 0.25 + 0.25)  # 0.62, and 0.5 of the guided conditionals
    >>> abs(float(first) - exact) < 0.04
    True

    Source: Lew et al. 2023, "Sequential Monte Carlo steering of large language models"
    (https://arxiv.org/abs/2306.03081); Dieleman 2022 (https://sander.ai/2022/05/26/guidance.html) for the joint.
    """
    if key is None:
        raise ValueError("key must be a PRNG key, got None")
    if not isinstance(model, GuidedModel) or jnp.ndim(model.guidance_scale):
        raise ValueError(f"model must be a result of classifier_free with a scalar guidance_scale, got {model}")
    axes = batch_axes(model, num_particles, length)

    def take(given, rows):
        state, rest = given
        return take_rows(state, axes, rows), jax.tree.map(lambda leaf: leaf[rows], rest)

    def body(carry, inputs):
        x, previous, state, log_weights, log_normalizer = carry
        index, for_rows, for_codes = inputs
        tilted, state = model._tilted_step(state, as_index(previous))
        log_weights = log_weights + jax.nn.logsumexp(tilted, axis=-1)
        given = state, (x, previous, tilted)
        given, log_weights, gained, ess, due = resample_if_due(for_rows, log_weights, given, threshold, take)
        state, (x, previous, tilted) = given
        drawn = jnp.where(is_missing(previous), -1, draw_codes(for_codes, tilted))
        x = jax.lax.dynamic_update_index_in_dim(x, drawn, index, 1)
        return (x, drawn, state, log_weights, log_normalizer + gained), (ess, due)

    for_rows, for_codes = jax.random.split(key)
    inputs = jnp.arange(length), jax.random.split(for_rows, length), jax.random.split(for_codes, length)
    start, x = model.conditional.zeros(num_particles), jnp.zeros((num_particles, length), jnp.int32)
    carry = x, start, model.init_state(num_particles, length), jnp.zeros(num_particles), jnp.zeros(())
    (x, _, _, log_weights, log_normalizer), (ess, resampled) = scan(body, carry, inputs)
    total = log_normalizer + log_mean_weight(log_weights)
    check(np.isfinite, "one that gives some sequences a finite log-probability", model=total)
    return ParticleResult.of(x, log_weights, log_normalizer, ess, resampled)
