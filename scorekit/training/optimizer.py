"""The optimiser: AdamW behind global-norm clipping, with linear warm-up and cosine decay."""

import jax
import jax.numpy as jnp
import optax

from scorekit.trees import check, check_positive


def learning_rate_schedule(
    learning_rate: float, warmup_steps: int, total_steps: int, final_fraction: float = 0.0
) -> optax.Schedule:
    """Linear warm-up, then half a cosine.

    ``lr(n) = learning_rate min(1, (n + 1) / warmup) (f + (1 - f) (1 + cos(pi p)) / 2)`` with ``p`` the fraction
    of the steps after the warm-up that are done and ``f`` the final fraction. The first update is not wasted on a
    rate of zero.

    Args:
      learning_rate: the peak.
      warmup_steps: updates until the peak; 0 for none.
      total_steps: updates until the end of the cosine; the rate stays there afterwards.
      final_fraction: rate at the end as a fraction of the peak, in [0, 1]; 1 for a constant rate.

    Returns:
      Function from the number of updates done to the learning rate of the next.

    Raises:
      ValueError: if an argument is out of range.

    >>> schedule = learning_rate_schedule(1.0, 4, 104, 0.1)
    >>> [round(float(schedule(n)), 3) for n in (0, 3, 4, 54, 104, 999)]
    [0.25, 1.0, 1.0, 0.55, 0.1, 0.1]
    """
    check_positive(learning_rate=learning_rate)
    check(lambda f: (f >= 0) & (f <= 1), "in [0, 1]", final_fraction=final_fraction)
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps must be at least 0 and below total_steps={total_steps}, got {warmup_steps}")

    def schedule(count):
        n = jnp.asarray(count, jnp.float32)
        warmup = jnp.minimum(1.0, (n + 1) / max(warmup_steps, 1))
        progress = jnp.clip((n - warmup_steps) / (total_steps - warmup_steps), 0.0, 1.0)
        cosine = (1 + jnp.cos(jnp.pi * progress)) / 2
        return learning_rate * warmup * (final_fraction + (1 - final_fraction) * cosine)

    return schedule


def make_optimizer(
    learning_rate: float,
    warmup_steps: int,
    total_steps: int,
    final_fraction: float = 0.0,
    clip_norm: float | None = 1.0,
    weight_decay: float = 0.0,
) -> optax.GradientTransformation:
    """AdamW with clipping by the global norm and the rate of :func:`learning_rate_schedule`.

    Weight decay acts on arrays with two axes or more (kernels), not on biases, norms or scalars.

    Args:
      learning_rate: the peak rate.
      warmup_steps: updates until the peak.
      total_steps: updates until the end of the cosine.
      final_fraction: rate at the end as a fraction of the peak.
      clip_norm: largest global norm of the gradient; None for no clipping.
      weight_decay: decoupled weight decay.

    Returns:
      An optax gradient transformation.

    Raises:
      ValueError: if an argument is out of range.

    >>> optimizer = make_optimizer(1e-3, warmup_steps=10, total_steps=100)
    >>> params = {"kernel": jnp.ones((2, 2))}
    >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
    >>> round(float(updates["kernel"][0, 0]), 6)  # a tenth of the peak: the first of ten warm-up steps
    -0.0001
    """
    check(lambda w: w >= 0, ">= 0", weight_decay=weight_decay)
    schedule = learning_rate_schedule(learning_rate, warmup_steps, total_steps, final_fraction)
    adam = optax.adamw(
        schedule,
        weight_decay=weight_decay,
        mask=lambda params: jax.tree.map(lambda p: jnp.ndim(p) > 1, params),
    )
    if clip_norm is None:
        return adam
    check_positive(clip_norm=clip_norm)
    return optax.chain(optax.clip_by_global_norm(clip_norm), adam)
