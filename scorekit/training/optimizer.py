"""The optimiser: AdamW or Muon behind global-norm clipping, with linear warm-up and a decay of the rate."""

import functools
import math
from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax

from scorekit.arguments import Between, Each, Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt, checked
from scorekit.typing import Array, Number, PyTree

OptimizerName = Literal["adamw", "muon"]
"""The name of an optimiser of :func:`make_optimizer`."""


@checked
def learning_rate_schedule(
    learning_rate: Positive[Number],
    warmup_steps: NonNegativeInt,
    total_steps: PositiveInt,
    final_fraction: Fraction[Number] = 0.0,
    decay_start: PositiveInt | None = None,
) -> optax.Schedule:
    """Linear warm-up, then half a cosine, or the inverse square root of the number of steps.

    ``lr(n) = learning_rate min(1, (n + 1) / warmup) d(n)``, with ``d = f + (1 - f) (1 + cos(pi p)) / 2`` for ``p`` the
    fraction of the steps after the warm-up that are done and ``f`` the final fraction; or, from ``decay_start`` steps
    on, ``d = (n / decay_start) ** -0.5``, and 1 before. The first update has a non-zero rate.

    Args:
      learning_rate: the peak rate.
      warmup_steps: updates until the peak, fewer than ``total_steps``; 0 for none.
      total_steps: updates until the end of the cosine; the rate is constant afterwards.
      final_fraction: rate at the end of the cosine as a fraction of the peak; 1 for a constant rate.
      decay_start: updates after which the rate is an inverse square root, at any ``total_steps``; None for the cosine.

    Returns:
      A function of the number of updates done.

    >>> rates = lambda schedule, counts: [round(float(schedule(n)), 3) for n in counts]
    >>> rates(learning_rate_schedule(1.0, 4, 104, 0.1), (0, 3, 4, 54, 104, 999))
    [0.25, 1.0, 1.0, 0.55, 0.1, 0.1]
    >>> rates(learning_rate_schedule(1.0, 4, 104, decay_start=100), (0, 100, 400, 10_000))
    [0.25, 1.0, 0.5, 0.1]

    Source: Karras et al. 2024, for the inverse square root (https://arxiv.org/abs/2312.02696).
    """
    if warmup_steps >= total_steps:
        raise ValueError(f"warmup_steps must be at least 0 and below total_steps={total_steps}, got {warmup_steps}")

    def schedule(count):
        n = jnp.asarray(count, jnp.float32)
        warmup = jnp.minimum(1.0, (n + 1) / max(warmup_steps, 1))
        if decay_start is not None:
            return learning_rate * warmup * jax.lax.rsqrt(jnp.maximum(n / decay_start, 1.0))
        progress = jnp.clip((n - warmup_steps) / (total_steps - warmup_steps), 0.0, 1.0)
        cosine = (1 + jnp.cos(jnp.pi * progress)) / 2
        return learning_rate * warmup * (final_fraction + (1 - final_fraction) * cosine)

    return schedule


@checked
def make_optimizer(
    learning_rate: Positive[Number],
    warmup_steps: NonNegativeInt,
    total_steps: PositiveInt,
    final_fraction: Fraction[Number] = 0.0,
    clip_norm: Positive[Number] | None = 1.0,
    weight_decay: NonNegative[Number] = 0.0,
    name: OptimizerName = "adamw",
    betas: Annotated[tuple[float, float], Each(Between(0, 1, "high"))] = (0.9, 0.999),
    decay_start: PositiveInt | None = None,
) -> optax.GradientTransformation:
    """AdamW or Muon with clipping by the global norm and the rate of :func:`learning_rate_schedule`.

    Muon updates kernels ``(..., out)`` by their orthogonalised momentum, ``U V^T`` of the singular value decomposition
    ``U S V^T`` of the momentum as a matrix of ``out`` columns, times ``sqrt(max(rows, out))``. Exact orthogonalisation
    would give a root mean square of 1 learning rate for any shape. The five Newton-Schulz steps give 0.68 to 1.21,
    0.70 for one row or column, if no singular value is below 1/500 of the root of their summed squares, and less
    otherwise. A U-Net learns fine detail in fewer steps that way. All other parameters (biases, norms, embeddings) and
    the layers of the conditioning are updated by AdamW at the same rate.

    Weight decay acts on arrays with two axes or more (kernels), not on biases, norms or scalars.

    Args:
      learning_rate: the peak rate.
      warmup_steps: updates until the peak, fewer than ``total_steps``; 0 for none.
      total_steps: updates until the end of the cosine; the rate is constant afterwards.
      final_fraction: rate at the end of the cosine as a fraction of the peak; 1 for a constant rate.
      clip_norm: largest global norm of the gradient; None for no clipping.
      weight_decay: decoupled weight decay.
      name: ``"adamw"`` or ``"muon"``. Muon applies to the parameters that Flax names ``kernel``, except in modules with
        ``conditioning`` or ``film`` in their names.
      betas: decay of Adam's averages of the gradient and of its square.
      decay_start: updates after which the rate is an inverse square root, at any ``total_steps``; None for the cosine.

    Returns:
      An optax transformation.

    >>> optimizer = make_optimizer(1e-3, warmup_steps=10, total_steps=100)
    >>> params = {"kernel": jnp.ones((2, 2))}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> round(float(updates["kernel"][0, 0]), 6)  # a tenth of the peak: the first of ten warm-up steps
    -0.0001

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"
    (https://kellerjordan.github.io/posts/muon); the scale is from Liu et al. 2025 (https://arxiv.org/abs/2502.16982)
    without its factor of 0.2, which matches the root mean square of AdamW's updates.
    """
    if len(betas) != 2:
        raise ValueError(f"betas must be two numbers in [0, 1), got {betas}")
    schedule = learning_rate_schedule(learning_rate, warmup_steps, total_steps, final_fraction, decay_start)
    adam = optax.scale_by_adam(*betas)
    orthogonal = optax.stateless_with_tree_map(lambda momentum, _: _orthogonal(jnp.asarray(momentum)))
    muon = optax.chain(optax.trace(0.95, nesterov=True), orthogonal)
    optimizer = optax.chain(
        adam if name == "adamw" else optax.partition({"adam": adam, "muon": muon}, _by_name),
        optax.add_decayed_weights(weight_decay, lambda params: jax.tree.map(lambda p: jnp.ndim(p) > 1, params)),
        optax.scale_by_learning_rate(schedule),
    )
    if clip_norm is None:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(clip_norm), optimizer)


def _orthogonal(x: Array) -> Array:
    """Orthogonalises ``(..., out)`` as a matrix of ``out`` columns by five Newton-Schulz steps, scaled to unit RMS.

    A step is ``x <- x q(x^T x)``, so that ``x^T x <- q x^T x q``: the iteration needs only the small Gram matrix, and
    the large matrix is multiplied once, by the product of all ``q``.
    """
    matrix = x.reshape(-1, x.shape[-1])
    wide = matrix.shape[0] < matrix.shape[1]
    matrix = matrix.T if wide else matrix
    matrix = matrix / (jnp.linalg.norm(matrix) + 1e-8)
    multiply = functools.partial(jnp.matmul, precision="highest")
    gram = multiply(matrix.T, matrix)
    one = product = jnp.eye(len(gram), dtype=gram.dtype)
    for _ in range(5):
        q = 3.4445 * one - 4.7750 * gram + 2.0315 * multiply(gram, gram)
        product, gram = multiply(product, q), multiply(multiply(q, gram), q)
    matrix = math.sqrt(len(matrix)) * multiply(matrix, product)
    return (matrix.T if wide else matrix).reshape(x.shape)


def _by_name(params):
    def choose(path, leaf):
        names = [str(getattr(key, "key", key)) for key in path]
        conditioning = any("conditioning" in name or "film" in name for name in names)
        return "muon" if names[-1] == "kernel" and not conditioning and jnp.ndim(leaf) > 1 else "adam"

    return jax.tree_util.tree_map_with_path(choose, params)


@checked
def projected(
    optimizer: optax.GradientTransformation, project: Callable[[PyTree], PyTree]
) -> optax.GradientTransformation:
    """An optimiser after whose update the parameters are projected: ``params <- project(params + updates)``.

    Averages are means of projected parameters, and are not projected themselves.

    Args:
      optimizer: an optax transformation.
      project: ``params -> params``, say :func:`scorekit.networks.normalise_weights`.

    >>> optimizer, params = projected(optax.sgd(1.0), lambda x: x / jnp.linalg.norm(x)), jnp.array([1.0, 0.0])
    >>> updates, _ = optimizer.update(jnp.array([0.0, -1.0]), optimizer.init(params), params)
    >>> optax.apply_updates(params, updates).round(3)
    Array([0.707, 0.707], dtype=float32)
    """

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("params must be given to the update of a projected optimiser, got None")
        updates, state = optimizer.update(updates, state, params)
        target = project(optax.apply_updates(params, updates))
        return jax.tree.map(lambda new, old: new - old, target, params), state

    return optax.GradientTransformation(optimizer.init, update)
