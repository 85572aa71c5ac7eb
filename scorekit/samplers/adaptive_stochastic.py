"""The reverse SDE with steps that adapt to each example, on a Brownian path that rejected steps do not bias.

With ``q = SNR(t)`` and ``v = alpha x / sigma^2`` the reverse SDE of every schedule is ``dv = x0(x, t) dq + dB_q``: the
noise is a Brownian motion in q and the only slope, the clean estimate, is bounded even at ``alpha = 0``. A step of
constant slope is the posterior ``q(x_s | x_t, x0)``; a weighted mean of the slopes at both ends is Heun's. They are
the embedded pair. Steps are measured by the clock ``u = log(1 + SNR)``: about q at high noise, log q at low noise.

The published algorithm draws new noise after a rejection. It thus keeps the increments that happen to make a small
error, whose sum is no longer Gaussian (in a test here its variance grows by a quarter). Here a rejected step is halved,
repeatedly if needed, and the increment of a half follows from the increment already drawn, by the Brownian bridge. In
units of standard deviations this is a rotation: if the left half holds the fraction f of the variance,
``left = sqrt(f) xi + sqrt(1 - f) z`` and ``right = sqrt(1 - f) xi - sqrt(f) z``. The z of a split is a function of the
key and of its position in the tree, so that no increments are stored.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from scorekit._grids import check_samples
from scorekit._integration.probability_flow import check_relative_tolerance
from scorekit._numerics import wide
from scorekit.arguments import Fraction, Positive, PositiveInt, checked
from scorekit.checks import check, check_finite, check_floating, check_prediction
from scorekit.process import posterior
from scorekit.samplers.adaptive import AdaptiveResult
from scorekit.trees import batch_size, combine, event_size, is_traced, normal_like, sum_per_example, where
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule

__all__ = ["adaptive_sde"]

_FIRST, _SAFETY, _POWER, _SHRINK, _GROW = 0.01, 0.9, 0.9, 0.1, 5.0
_MAX_DEPTH = 24


class _Node(NamedTuple):
    """Piece ``index`` of the ``2^depth`` equal pieces of a step of the clock u, one for each example, ``(B,)``."""

    start: Array
    length: Array
    depth: Array
    index: Array
    step: Array  # the index of the step


class _State(NamedTuple):
    """``x`` of each example at time ``t``, its clean estimate where ``has_x0``, and the node being tried."""

    x: PyTree
    x0: PyTree
    has_x0: Array
    t: Array
    node: _Node
    done: Array
    accepted: Array
    rejected: Array


@checked
def adaptive_sde(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    x_init: PyTree,
    *,
    t_start: Fraction = 1.0,
    t_end: Fraction = 1e-3,
    rtol: ArrayLike = 0.02,
    atol: Positive = 0.01,
    max_steps: PositiveInt = 1000,
    denoise: bool = True,
) -> AdaptiveResult:
    """Samples the reverse SDE with the steps that each example needs.

    ``x' = E[q(x_s | x_t, x0)] + std xi``, then ``x_s = x' + w alpha_s (1 - SNR_t / SNR_s) (x0(x', s) - x0(x_t, t))``
    with ``w = e^h / (e^(h / 2) + 1)`` for a step h of the clock ``log(1 + SNR)``: Heun's 1/2 for small steps, and the
    weight that makes one step of any size exact in law for standard normal data. The step is taken if ``error =
    |(x_s - x') / max(atol, rtol max(|x_t|, |x'|))| <= 1`` (root mean square over the example), else divided; the next
    is ``0.9 error^-0.9`` times as long, within 0.1 to 5.

    One iteration is one evaluation of the denoiser for the whole batch, at times ``(B,)``; a step costs 2 and a
    rejected one 1, since the estimate at ``x_t`` is kept. The batch takes as long as its slowest example. The law of
    the noise is exact for any rejections; the error of the steps remains, and falls with the tolerance. Only
    forward-mode gradients are defined.

    Args:
      key: PRNG key.
      denoiser: ``(x_t, t) -> Prediction`` for ``t`` of shape ``(B,)``; only x0 is read. It is traced once.
      schedule: its noise schedule.
      x_init: the state at ``t_start``, leaves ``(B, ...)``. It is integrated in at least float32.
      t_start: first time; where ``alpha`` is 0 a network that predicts eps or the score has no x0: start it below.
      t_end: last time.
      rtol: error allowed in a step relative to ``x``, at least the machine epsilon of the integrated state.
      atol: error allowed in a step where the state is small, in units of ``x``.
      max_steps: steps to try for each example before giving up, rejected ones included.
      denoise: end with ``x0(x, t_end)``, for one more evaluation, instead of the noise that ``t_end`` leaves.

    Returns:
      An :class:`~scorekit.samplers.adaptive.AdaptiveResult` whose counts and ``success`` are ``(B,)``; ``nfe`` is ``2
      accepted + rejected``, plus 1 to denoise. ``saved`` is None.

    Raises:
      ValueError: unless ``t_end < t_start``, with finite log-SNR at ``t_end``.
      RuntimeError: if called eagerly and an example did not reach the end. After ``jit`` its state is NaN and its
        ``success`` False.

    >>> from scorekit import denoisers, densities, process, schedules
    >>> data, schedule = densities.gaussian(jnp.zeros(2), std=0.5), schedules.rectified_flow()
    >>> start = process.sample_prior(jax.random.key(0), schedule, jnp.zeros((2000, 2)))
    >>> denoiser = denoisers.exact_denoiser(data, schedule)
    >>> solved = jax.jit(adaptive_sde)(jax.random.key(1), denoiser, schedule, start)
    >>> abs(float(solved.x.std()) - 0.5) < 0.03
    True

    Source: Jolicoeur-Martineau et al. 2021 (https://arxiv.org/abs/2105.14080); Rackauckas & Nie 2017
    (https://doi.org/10.3934/dcdsb.2017133) for rejection without bias; El Alaoui & Montanari 2022
    (https://arxiv.org/abs/2109.11925) for the process v.
    """
    dtype, b = jnp.result_type(jnp.float32, *jax.tree.leaves(x_init)), batch_size(x_init)
    _check(x_init, dtype, schedule, t_start, t_end, rtol)
    clock = lambda t: jax.nn.softplus(schedule.log_snr(jnp.asarray(t, dtype))).astype(dtype)
    u_end, keys = clock(t_end), jax.random.split(key, b)
    narrow = lambda x: jax.tree.map(lambda a, like: a.astype(jnp.result_type(like)), x, x_init)
    widen = lambda x: jax.tree.map(lambda a: jnp.asarray(a, dtype), x)
    once = jax.jit(lambda x, t: check_prediction(denoiser(x, t)).x0)
    estimate = lambda x, t: widen(once(narrow(x), t))

    def live(state):
        return ~state.done & (state.accepted + state.rejected < max_steps)

    def body(state: _State) -> _State:
        x, x0, has_x0, t, node, _, accepted, rejected = state
        u, last = _end(node, u_end)
        s = jnp.clip(schedule.time_at(u + jnp.log(-jnp.expm1(-u))), t_end, t).astype(dtype)
        s = jnp.where(last, jnp.asarray(t_end, dtype), s)
        (past, slope), std = posterior(schedule, t, s)
        first = combine((past, x), (slope, x0), (std, _increment(keys, node, x)))
        found = estimate(where(has_x0, first, x), jnp.where(has_x0, s, t))

        h = 0.5 * node.length / 2**node.depth
        weight = slope * jnp.exp(h) * jax.nn.sigmoid(h)
        change = combine((weight, found), (-weight, x0))
        scale = lambda a, b: jnp.maximum(atol, rtol * jnp.maximum(jnp.abs(a), jnp.abs(b)))
        ratio = jax.tree.map(lambda d, a, b: d / scale(a, b), change, x, first)
        error = jnp.sqrt(sum_per_example(jnp.square, ratio) / event_size(x))
        active = live(state)
        tried, evaluated = active & has_x0, active & ~has_x0
        accept = tried & (error <= 1.0)
        return _State(
            x=where(accept, combine((1.0, first), (1.0, change)), x),
            x0=where(evaluated, found, x0),
            has_x0=(has_x0 | evaluated) & ~accept,
            t=jnp.where(accept, s, t),
            node=where(tried, _next(node, accept, error, u_end), node),
            done=state.done | (accept & last),
            accepted=accepted + accept,
            rejected=rejected + (tried & ~accept),
        )

    x, zero, no = widen(x_init), jnp.zeros(b, jnp.int32), jnp.zeros(b, bool)
    t, u = (jnp.full(b, value, dtype) for value in (t_start, clock(t_start)))
    node = _Node(u, jnp.minimum(_FIRST, u_end - u), zero, zero, zero)
    state = _State(x, jax.tree.map(jnp.zeros_like, x), no, t, node, no, zero, zero)
    state = jax.lax.while_loop(lambda state: jnp.any(live(state)), body, state)
    x = estimate(state.x, jnp.full_like(t, t_end)) if denoise else state.x
    result = AdaptiveResult(
        x=narrow(where(state.done, x, jax.tree.map(lambda a: jnp.full_like(a, jnp.nan), x))),
        saved=None,
        nfe=2 * state.accepted + state.rejected + state.has_x0 + denoise,
        accepted=state.accepted,
        rejected=state.rejected,
        success=state.done,
    )
    _raise_if_failed(result, max_steps)
    check_samples(result.x, (t_start, t_end), schedule, x_init=x_init)
    return result


def _end(node: _Node, u_end: Array) -> tuple[Array, Array]:
    """The clock at the end of the node, and whether it is the end of the interval."""
    pieces = 2**node.depth
    u = node.start + node.length * ((node.index + 1) / pieces)
    last = (node.index + 1 == pieces) & (node.start + node.length >= u_end)
    return jnp.where(last, u_end, u), last


def _increment(keys: Array, node: _Node, like: PyTree) -> PyTree:
    """The Brownian increment over the node divided by its standard deviation, from the whole step down to the node."""
    keys = jax.vmap(jax.random.fold_in)(keys, node.step)

    def draw(position):
        return jax.vmap(lambda key, position, row: normal_like(jax.random.fold_in(key, position), row))(
            keys, position, like
        )

    def halve(level, increment):
        below = jnp.maximum(node.depth - level, 1)
        z = draw((1 << level) + (node.index >> below))
        # The variance runs in q = exp(u) - 1, so the left half of an interval of length h holds 1 / (1 + exp(h / 2)).
        left = jax.nn.sigmoid(-0.5 * node.length / (1 << level))
        is_right = (node.index >> (below - 1)) & 1
        keep = jnp.sqrt(jnp.where(is_right, 1.0 - left, left))
        fresh = jnp.sqrt(jnp.where(is_right, left, 1.0 - left)) * (1 - 2 * is_right)
        active = level < node.depth
        return combine((jnp.where(active, keep, 1.0), increment), (jnp.where(active, fresh, 0.0), z))

    return jax.lax.fori_loop(0, jnp.max(node.depth), halve, draw(jnp.zeros_like(node.index)))


def _next(node: _Node, accept: Array, error: Array, u_end: Array) -> _Node:
    """The piece to try next, about as long as the error suggests: a part of this one, the next ones, or a new step."""
    factor = jnp.clip(_SAFETY * error**-_POWER, _SHRINK, _GROW)
    wanted = node.length / 2**node.depth * jnp.where(jnp.isnan(factor), _SHRINK, factor)
    index = node.index + accept
    aligned = jax.lax.population_count((index & -index) - 1)  # the following piece may be 2^aligned times as long
    coarsest = jnp.where(accept, node.depth - aligned, node.depth + 1)
    depth = jnp.ceil(jnp.log2(node.length / wanted)).astype(index.dtype)
    depth = jnp.minimum(jnp.maximum(depth, coarsest), _MAX_DEPTH)
    shift = depth - node.depth
    index = jnp.where(shift > 0, index << jnp.maximum(shift, 0), index >> jnp.maximum(-shift, 0))

    over = accept & (node.index + 1 == 2**node.depth)
    begin = node.start + node.length
    left = jnp.maximum(u_end - begin, 0.0)
    length = jnp.where(1.01 * wanted > left, left, wanted)
    zero = jnp.zeros_like(index)
    return where(over, _Node(begin, length, zero, zero, node.step + 1), node._replace(depth=depth, index=index))


def _check(x_init, dtype, schedule, t_start, t_end, rtol) -> None:
    check_floating(x_init=x_init)
    check_finite(x_init=x_init)
    check_relative_tolerance(dtype, rtol)
    check(lambda t: t < t_start, f"< t_start = {t_start}", t_end=t_end)
    check(np.isfinite, f"finite: raise t_end = {t_end}", **{"log_snr(t_end)": schedule.log_snr(wide(t_end))})


def _raise_if_failed(result: AdaptiveResult, max_steps: int) -> None:
    if is_traced(result.success) or np.all(result.success):
        return
    raise RuntimeError(
        f"{np.sum(~result.success)} of {result.success.size} examples did not reach t_end in max_steps = {max_steps} "
        "steps; raise rtol or atol, raise max_steps, or start below t = 1 (t_start=0.999) and end above t = 0; "
        "estimates that are not finite come from the network, perhaps at a time at which its target is undefined"
    )
