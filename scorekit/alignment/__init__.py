"""Samples and models that follow a reward r(x): its maxima, or the tilted law ``p(x) exp(r(x) / lambda) / Z``.

:func:`steered_sample`, :func:`steered_tokens` and :func:`best_of` need no training. Losses of fine-tuning:

==========================================  =============  ===================  ===========================
loss                                        needs          converges to         evaluations (with gradient)
==========================================  =============  ===================  ===========================
``nft_loss``                                samples        better, in rounds    2 (1)
``advantage_weighted_loss``, exp(r/lambda)  samples        the tilted law       1 (1)
the same with advantages and a reference    samples        better, in rounds    2 (1)
``policy_gradient_loss``                    paths          maxima of r          n (n)
the same with ``kl = lambda``               paths          the tilted law (1)   2 n (n)
``reward_gradient_loss``                    gradient of r  maxima of r          n (the last K)
the same with ``kl = lambda``, K = n        gradient of r  the tilted law (1)   2 n (2 n)
``adjoint_matching_loss``                   gradient of r  the tilted law (1)   3 n (n), n products
==========================================  =============  ===================  ===========================

(1) Of small steps from noise that is independent of the sample (:func:`policy_gradient_loss`). The memory is that of
the evaluations with a gradient; with the network in ``jax.checkpoint`` that of one and of n states.

>>> import jax, jax.numpy as jnp
>>> from scorekit import alignment, denoisers, samplers, schedules, solvers
>>> key, x, ts = jax.random.key(0), jnp.zeros((1, 1)), [1.0, 0.5]
>>> flow, ddpm, r = schedules.RectifiedFlow(), solvers.Ancestral(), lambda x: x[:, 0]
>>> new, old = (denoisers.denoiser_from_network(lambda x, t, m=m: 0 * x + m, flow, "x0") for m in (1.0, 0.0))
>>> path = samplers.sample_with_log_probs(key, new, flow, ddpm, x, ts)
>>> alignment.path_kl(new, old, flow, ddpm, path.trajectory, ts).tolist()  # means 0.5 and 0, std 0.5
[[0.5]]
>>> alignment.policy_gradient_loss(new, flow, ddpm, path, ts, jnp.ones(1), reference=old, kl=2.0).tolist()
[0.0]
>>> alignment.reward_gradient_loss(new, flow, solvers.Euler(), x, ts, r).tolist()
[-0.5]
>>> alignment.adjoint_matching_loss(key, new, old, flow, ddpm, x, ts, r).tolist()  # |1 - 0.5|^2 / 2
[0.125]
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.alignment.matching import advantage_weighted_loss as advantage_weighted_loss
    from scorekit.alignment.matching import nft_loss as nft_loss
    from scorekit.alignment.policy_gradient import path_kl as path_kl
    from scorekit.alignment.policy_gradient import policy_gradient_loss as policy_gradient_loss
    from scorekit.alignment.reward_gradients import adjoint_matching_loss as adjoint_matching_loss
    from scorekit.alignment.reward_gradients import reward_gradient_loss as reward_gradient_loss
    from scorekit.alignment.rewards import advantages as advantages
    from scorekit.alignment.rewards import optimality as optimality
    from scorekit.alignment.steering import best_of as best_of
    from scorekit.alignment.steering import steered_sample as steered_sample
    from scorekit.alignment.steering import steered_tokens as steered_tokens

__getattr__, __dir__ = attach(__name__)
