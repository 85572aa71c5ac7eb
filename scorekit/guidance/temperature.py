"""Temperature: scaling the score, and the distribution that results."""

from collections.abc import Callable

from scorekit.arguments import Positive
from scorekit.guidance.rules import guidance_rule, rule
from scorekit.numerics.scales import value_at
from scorekit.predictions import Eps
from scorekit.trees import combine
from scorekit.typing import Array, Denoiser, Number, Schedule


def _scaled_score(predictions, x_t, t, schedule, tau):
    (prediction,) = predictions
    eps = combine((1.0 / value_at(tau, x_t, t, "tau"), prediction.eps))
    return Eps().to_prediction(eps, x_t, t, schedule)


@guidance_rule(unguided_at_one=False)
def temperature(denoiser: Denoiser, schedule: Schedule, tau: Positive[Number] | Callable[[Array], Array]) -> Denoiser:
    """Divides the score by ``tau`` at every time: ``eps / tau``, and x0 accordingly.

    This does *not* sample ``p(x)^(1 / tau)``, not even for Gaussian data of variance v, where that density has the
    variance ``tau v``. From noise of variance ``V = v + sigma^2`` (variance-exploding; in the limit of small steps)

    - the probability-flow ODE ends at the variance ``v (V / v)^(1 - 1 / tau)``, which depends on where it started,
    - the reverse SDE ends at ``v (c + (1 - c) (v / V)^(2 / tau - 1))``, ``c = tau / (2 - tau)``: ``c v`` for large V
      if ``tau < 2``,
    - Langevin dynamics at one noise level does sample ``p_t(x)^(1 / tau)``.

    The reason is that ``p_t(x)^(1 / tau)`` is not the diffused ``p(x)^(1 / tau)``. On a mixture the weights are wrong
    as well: for two distant modes with weights 0.7 and 0.3 the flow at ``tau = 1/2`` always ends in the heavier one,
    where ``p^2`` has the weights 0.84 and 0.16. To sample a power of p, use particles; to trade diversity for fidelity,
    use guidance.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, whose score is scaled.
      schedule: the noise schedule. The x0 of a scaled score is infinite where alpha = 0: start below t = 1 there.
      tau: temperature; values below 1 sharpen.

    >>> import jax.numpy as jnp
    >>> from scorekit.denoisers import denoiser_from_network
    >>> from scorekit.schedules import RectifiedFlow
    >>> d = denoiser_from_network(lambda x, t: x, RectifiedFlow(), "eps")
    >>> temperature(d, RectifiedFlow(), 0.5)(jnp.ones(1), 0.5).eps
    Array([2.], dtype=float32)
    """
    return rule(_scaled_score, (denoiser,), schedule, tau)
