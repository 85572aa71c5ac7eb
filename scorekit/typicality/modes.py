"""Mode seeking: points of far higher density than any sample, which are not typical."""

from typing import Annotated

import jax.numpy as jnp

from scorekit.arguments import Between, PositiveFraction, PositiveInt, checked
from scorekit.checks import check_floating, check_prediction
from scorekit.numerics.meshes import scan
from scorekit.trees import combine
from scorekit.typing import Array, Denoiser, PyTree, Schedule


@checked
def seek_mode(
    denoiser: Denoiser,
    schedule: Schedule,
    x: PyTree,
    t: Annotated[float, Between(0, 1, "both")],
    *,
    steps: PositiveInt = 100,
    step_size: PositiveFraction[float] = 1.0,
) -> PyTree:
    """Gradient ascent on the density at noise level t by mean shift, with steps given by the denoiser.

    ``x <- x + step_size (E[x0 | x_t = alpha x] - x)``, where by Tweedie's formula the bracket is ``sigma^2 / alpha``
    times the score at ``alpha x``. With step size 1 this is mean shift with the kernel of that noise level, which never
    decreases the density of the noisy data; its fixed points are the stationary points of ``log p_t``.

    Args:
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar.
      schedule: the noise schedule.
      x: starting points, a tree of ``(B, ...)`` arrays, for instance samples.
      t: time of the noise level, with alpha and sigma > 0: small for the modes of the data; a larger one smooths out
        small modes.
      steps: number of steps.
      step_size: fraction of the way to the mean; smaller values follow the gradient more closely.

    Returns:
      The end points, with the shapes and dtypes of ``x``.

    >>> from scorekit import densities, denoisers, schedules
    >>> schedule = schedules.Cosine()
    >>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.ones(2), std=1.0), schedule)
    >>> print(seek_mode(denoiser, schedule, jnp.zeros((1, 2)), 0.5).round(3))
    [[1. 1.]]

    Source: Carreira-Perpinan 2000, "Mode-finding for mixtures of Gaussian distributions".
    """
    check_floating(x=x)
    time = jnp.asarray(t, float)
    alpha: Array = schedule.alpha(time)

    def climb(x, _):
        target = check_prediction(denoiser(combine((alpha, x)), time)).x0
        return combine((1.0 - step_size, x), (step_size, target)), None

    return scan(climb, x, length=steps)[0]
