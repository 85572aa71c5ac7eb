"""Checks that the losses share."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.checks import check, check_floating, check_time
from scorekit.numerics.meshes import typed_as
from scorekit.trees import batch_size, is_traced
from scorekit.typing import Array, ArrayLike, PyTree


def check_order(t: ArrayLike, s: ArrayLike, above: str = "t", name: str = "s") -> None:
    """Raises a ``ValueError`` unless ``s <= t``, for values that are known."""
    if not is_traced(t):
        check(lambda s: ~(s > np.asarray(t)), f"<= {above} = {t}", **{name: s})


def checked_steps(
    x0: PyTree, t: ArrayLike, s: ArrayLike, above: str = "t", name: str = "s", ordered: bool = True
) -> tuple[Array, Array]:
    """``(t, s)`` of a batch of data, one of each per example, with ``s <= t`` where they are ordered."""
    check_floating(x0=x0)
    b = batch_size(x0)
    if b == 0:
        raise ValueError("x0 must hold at least one example, got none")
    times = {above: t, name: s}
    check_time(**times)
    for argument, time in times.items():
        if jnp.shape(time) != (b,):
            raise ValueError(f"{argument} must have shape ({b},), one per example, got {jnp.shape(time)}")
    if ordered:
        check_order(t, s, above, name)
    return jnp.asarray(t), jnp.asarray(s)


def forward_derivative(function, primals, tangents):
    """``jax.jvp``, with an error that says what to do for a network without it."""
    try:
        return jax.jvp(function, primals, typed_as(tangents, primals))
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
        raise ValueError(
            "flow_map must have a forward-mode derivative, but holds a custom_vjp, which has none (fused attention is "
            "one): build the network with attention='xla', or use semigroup_loss, which needs no derivative"
        ) from error
