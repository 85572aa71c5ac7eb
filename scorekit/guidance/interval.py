"""Guidance in an interval of noise levels, without the cost of the second evaluation outside it."""

from typing import Annotated

import jax.numpy as jnp

from scorekit import trees
from scorekit.arguments import Between
from scorekit.checks import check, check_floating, check_levels, nan_unless
from scorekit.guidance.rules import guidance_rule
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state, predict
from scorekit.numerics.meshes import cond
from scorekit.numerics.scales import check_prediction
from scorekit.trees import as_pytree, pytree_dataclass
from scorekit.typing import Denoiser, Number, Schedule


@pytree_dataclass
class _Interval(StatefulDenoiser):
    """One denoiser inside an interval and another outside; built by :func:`interval`."""

    denoiser: Denoiser
    unguided: Denoiser
    schedule: Schedule
    noise_min: Number
    noise_max: Number

    def init(self, x):
        return init_denoiser_state(self.denoiser, x), init_denoiser_state(self.unguided, x)

    def predict(self, state, x_t, t):
        check_floating(x_t=x_t)
        check_levels(x_t, t=t)
        prediction, state = self._predict(state, x_t, t)
        return nan_unless(jnp.asarray(self.noise_min) < self.noise_max, prediction), state

    def _predict(self, state, x_t, t):
        log_snr = self.schedule.log_snr(t)
        inside = (log_snr >= -2.0 * jnp.log(self.noise_max)) & (log_snr < -2.0 * jnp.log(self.noise_min))
        if jnp.ndim(t) == 0:
            return cond(inside, self._inside, self._outside, state, x_t, t)
        return trees.where(inside, self._inside(state, x_t, t), self._outside(state, x_t, t))

    def _inside(self, state, x_t, t):
        prediction, guided = predict(self.denoiser, state[0], x_t, t)
        check_prediction(x_t, prediction)
        return prediction, (guided, state[1])

    def _outside(self, state, x_t, t):
        prediction, unguided = predict(self.unguided, state[1], x_t, t)
        check_prediction(x_t, prediction)
        return prediction, (state[0], unguided)


@guidance_rule()
def interval(
    denoiser: Denoiser,
    unguided: Denoiser,
    schedule: Schedule,
    noise_min: Annotated[Number, Between(0, infinite=True)] = 0.0,
    noise_max: Number = jnp.inf,
) -> Denoiser:
    """Guides only while ``noise_min < sigma / alpha <= noise_max`` and skips the guided call elsewhere.

    With a scalar ``t`` (as in :func:`scorekit.samplers.sample`) only one branch is executed; with ``t`` ``(B,)`` both
    are. The state of the branch that is not executed does not change. Apply rules that need the network (rescale, APG)
    inside the interval: the two branches are separate programs, and a call inside is not merged with the same call
    outside.

    Args:
      denoiser: the guided denoiser, used inside the interval.
      unguided: the denoiser outside it, normally the conditional one.
      schedule: the noise schedule, which gives ``sigma / alpha``.
      noise_min: lower bound of the noise-to-signal ratio.
      noise_max: upper bound, above ``noise_min``; for traced bounds in another order the prediction is NaN.

    >>> from scorekit.schedules import RectifiedFlow
    >>> from scorekit.typing import Prediction
    >>> guided, unguided = (lambda x, t, c=c: Prediction(x + c, x) for c in (1.0, 0.0))
    >>> interval(guided, unguided, RectifiedFlow(), 0.5, 2.0)(jnp.zeros(1), jnp.array(0.9)).x0
    Array([0.], dtype=float32)

    Source: Kynkäänniemi et al. 2024 (https://arxiv.org/abs/2404.07724).
    """
    check(lambda x: x > noise_min, f"> noise_min = {noise_min}", noise_max=noise_max)
    return _Interval(
        denoiser=as_pytree(denoiser),
        unguided=as_pytree(unguided),
        schedule=schedule,
        noise_min=noise_min,
        noise_max=noise_max,
    )
