"""Parameters that satisfy a constraint after each update."""

from collections.abc import Callable

import jax
import optax

from scorekit.typing import PyTree

__all__ = ["projected"]


def projected(
    optimizer: optax.GradientTransformation, project: Callable[[PyTree], PyTree]
) -> optax.GradientTransformation:
    """An optimiser after whose update the parameters are projected: ``params <- project(params + updates)``.

    The averages of the parameters are of projected ones, and are not projected themselves.

    Args:
      optimizer: an optax transformation.
      project: ``params -> params``, say :func:`scorekit.networks.normalise_weights`.

    Returns:
      An optax transformation, whose updates lead to the projected parameters up to rounding.

    >>> import jax.numpy as jnp
    >>> optimizer = projected(optax.sgd(1.0), lambda x: x / jnp.linalg.norm(x))
    >>> params = jnp.array([1.0, 0.0])
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
