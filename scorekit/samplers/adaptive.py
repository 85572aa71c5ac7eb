"""The probability-flow ODE with adaptive steps.

In a coordinate of :mod:`scorekit.numerics.coordinates` the ODE is ``dy/dclock = signal x0 + noise eps`` with
``y = x / scale``; "flow" (the default) and "angle" are finite at both ends of every schedule. A network that predicts
x0 has no eps at sigma = 0, and a network that predicts eps has no x0 at alpha = 0. Near such an end the missing one is
rounding error divided by a small number. The slope is therefore never evaluated closer to such an end than
``sqrt(machine epsilon) / 4`` of the clock (8.6e-5 in float32, 3.7e-9 in float64): beyond, the network is evaluated at
that distance. The resulting error is of the order of the rounding error that it avoids, and the same in both
directions.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating
from scorekit.numerics.blocks import block_length, in_blocks
from scorekit.numerics.coordinates import FiniteAtZeroNoise, frame
from scorekit.numerics.dormand_prince import dormand_prince
from scorekit.numerics.grids import check_samples
from scorekit.numerics.probability_flow import check_relative_tolerance, probability_flow, raise_if_failed
from scorekit.trees import combine, is_traced
from scorekit.typing import Array, ArrayLike, Denoiser, Number, PyTree, Schedule


class AdaptiveResult(NamedTuple):
    """The result of :func:`adaptive_ode`.

    Attributes:
      x: the state at the last time, shaped and typed like ``x_init``; NaN in blocks that failed.
      saved: the states at ``save_at``, leaves ``(n, B, ...)``, or None.
      nfe: network evaluations, 2 for the first step size and 6 for every step tried; this and the next two counts are
        of the block that needed most.
      accepted: steps taken.
      rejected: steps tried and rejected.
      success: whether the last time was reached in all blocks.

    >>> count = jnp.array(62)
    >>> result = AdaptiveResult(jnp.ones(1), None, nfe=count, accepted=count, rejected=count, success=jnp.array(False))
    >>> result.raise_if_failed()  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    RuntimeError: the ODE was not solved to its end in 62 network evaluations: raise rtol or atol, ...

    Source: Dormand & Prince 1980.
    """

    x: PyTree
    saved: PyTree
    nfe: Array
    accepted: Array
    rejected: Array
    success: Array

    def raise_if_failed(self) -> "AdaptiveResult":
        """Itself, for use after ``jit``; a ``RuntimeError`` that says what to try where a solve has failed.

        Returns:
          Itself.

        Raises:
          RuntimeError: if the end was not reached; it says what to try.
        """
        raise_if_failed(self.success, self.nfe)
        return self


@checked
def adaptive_ode(
    denoiser: Denoiser,
    schedule: Schedule,
    x_init: PyTree,
    *,
    t_max: Fraction[Number] = 1.0,
    t_min: Fraction[Number] = 0.0,
    invert: bool = False,
    rtol: ArrayLike = 1e-4,
    atol: Positive[Number] = 1e-5,
    max_steps: PositiveInt = 1000,
    save_at: ArrayLike | None = None,
    coordinate: FiniteAtZeroNoise = "flow",
    block_size: PositiveInt | None = None,
) -> AdaptiveResult:
    """Solves the probability-flow ODE by Dormand and Prince's pair 5(4), with steps that adapt to the tolerance.

    ``d(x / scale) = (signal x0 + noise eps) dclock``, from ``t_max`` to ``t_min``, or back. The error of a step is the
    root mean square over a block of examples, which share their steps: the result depends on ``block_size`` within the
    tolerance. For individual steps::

        one = lambda x: adaptive_ode(denoiser, schedule, x[None]).x[0]
        x = jax.vmap(one)(x_init)

    Called eagerly it works but compiles anew each time; wrap it in ``jax.jit``. It has no gradient, which is an error:
    differentiate :func:`scorekit.samplers.sample`, or solve by diffrax (:mod:`scorekit.bridges.diffrax`).

    Args:
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar. It is traced once, and once more to choose blocks.
      schedule: its noise schedule.
      x_init: the state at ``t_max``, or at ``t_min`` with ``invert``. It is integrated in at least float32.
      t_max: the time of the noise.
      t_min: the time of the data, below ``t_max``.
      invert: integrate from ``t_min`` to ``t_max``, which encodes data as noise.
      rtol: error allowed in a step relative to ``x / scale``, at least the machine epsilon of the integrated state.
      atol: error allowed in a step where the state is small, in units of ``x / scale``.
      max_steps: steps to try before giving up, rejected ones included.
      save_at: times ``(n,)`` between the ends, in the order of the path: where to interpolate the state.
      coordinate: "flow", "angle" or, where alpha > 0, "sigma".
      block_size: the largest number of examples to integrate together. By default all of them; on a single CPU device,
        where small operations are faster, 80 if an example has at most 256 values. A ``denoiser`` that takes only full
        batches, such as one that holds class labels, always gets all examples by default. Set it to B if examples
        depend on each other.

    Returns:
      An :class:`AdaptiveResult`.

    Raises:
      ValueError: for ``save_at`` out of order or outside the interval, or "sigma" at a time where alpha is 0.
      RuntimeError: if called eagerly and the end was not reached. After ``jit`` the state is NaN and ``success`` False.

    >>> from scorekit import densities, denoisers, schedules
    >>> data, schedule = densities.gaussian(jnp.zeros(1), std=0.5), schedules.Cosine()
    >>> solved = adaptive_ode(denoisers.exact_denoiser(data, schedule), schedule, jnp.ones((1, 1)))
    >>> float(solved.x[0, 0].round(3))
    0.5

    Source: Song et al. 2021 (https://arxiv.org/abs/2011.13456); Dormand & Prince 1980.
    """
    wide = jnp.result_type(jnp.float32, *jax.tree.leaves(x_init))
    check(lambda t: t > t_min, f"> t_min = {t_min}", t_max=t_max)
    ends = (t_min, t_max) if invert else (t_max, t_min)
    _check(x_init, wide, *ends, rtol, save_at)
    start, end = (jnp.asarray(t, wide) for t in ends)
    at = lambda t: frame(coordinate, schedule.alpha(t), schedule.sigma(t))
    first, last = at(start), at(end)
    check(np.isfinite, "finite; use the 'flow' coordinate", **{"clock at t_max": (last if invert else first).clock})
    middle = None if save_at is None else at(jnp.asarray(save_at, wide))
    clocks = None if middle is None else middle.clock
    slope = probability_flow(denoiser, schedule, start, end, x_init, coordinate)
    options = {"rtol": rtol, "atol": atol, "max_steps": max_steps, "save_at": clocks}
    swap = functools.partial(jax.tree.map, lambda leaf: jnp.swapaxes(leaf, 0, 1))

    def solve(y):
        out = dormand_prince(slope, y, first.clock, last.clock, **options)
        return (out.y, swap(out.saved)), (out.nfe, out.accepted, out.rejected, out.success)

    length = block_length(denoiser, x_init, start, block_size)
    y = combine((1.0 / first.scale, jax.tree.map(lambda x: jnp.asarray(x, wide), x_init)))
    (y, saved), (nfe, accepted, rejected, success) = in_blocks(solve, y, length)
    longest = jnp.argmax(nfe)
    back = lambda scale, y: jax.tree.map(lambda y, x: y.astype(jnp.result_type(x)), combine((scale, y)), x_init)
    result = AdaptiveResult(
        x=back(last.scale, y),
        saved=None if middle is None else back(middle.scale, swap(saved)),
        nfe=nfe[longest],
        accepted=accepted[longest],
        rejected=rejected[longest],
        success=jnp.all(success),
    )
    result.raise_if_failed()
    check_samples(result.x, schedule=schedule, ts=(start, end), x_init=x_init)
    return result


def _check(x_init, wide, start, end, rtol, save_at) -> None:
    check_floating(x_init=x_init)
    check_finite(x_init=x_init)
    check_relative_tolerance(wide, rtol)
    if save_at is None:
        return
    if np.ndim(save_at) != 1 or np.shape(save_at)[0] < 1:
        raise ValueError(f"save_at must have shape (n,) with n >= 1, got shape {np.shape(save_at)}")
    if not any(map(is_traced, (start, end, save_at))):
        path = np.concatenate([np.ravel(start), np.asarray(save_at), np.ravel(end)])
        check(
            lambda t: np.all(np.diff(path) * np.sign(path[-1] - path[0]) >= 0) & (np.shape(t) != ()),
            f"times in order from {start} to {end}",
            save_at=save_at,
        )
