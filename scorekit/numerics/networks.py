"""Calls of networks, whose common errors say the remedy."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from scorekit.checks import check_like, check_real
from scorekit.typing import ArrayLike, PyTree


def output_like(name: str, network: Callable, x_t: PyTree, *times: ArrayLike) -> PyTree:
    """:func:`call_network`, with an output typed like the state.

    Args:
      name: name of the output in the message.
      network: ``(x_t, *times) -> output``.
      x_t: the state.
      times: the times that the network takes.

    >>> output_like("output", lambda x, t: 2.0 * x, jnp.ones(2, jnp.bfloat16), 0.5).dtype
    dtype(bfloat16)
    """
    output = call_network(name, network, x_t, *times)
    return jax.tree.map(lambda o, x: jnp.asarray(o, jnp.result_type(x)), output, x_t)


def call_network(name: str, network: Callable, x_t: PyTree, *times: ArrayLike) -> PyTree:
    """``network(x_t, *times)``, real and shaped like the state; common errors of networks say the remedy.

    Args:
      name: name of the output in the message.
      network: ``(x_t, *times) -> output``.
      x_t: the state.
      times: the times that the network takes.

    >>> call_network("output", lambda x, t: x * t[:, None], jnp.ones((4, 1)), 0.5)
    Traceback (most recent call last):
    ValueError: t is a scalar when sampling and (B,) in the loss: jnp.broadcast_to(t, x.shape[:1])
    """
    try:
        output = network(x_t, *times)
        check_like("x_t", x_t, **{name: output})
    except Exception as error:
        if not any(map(jnp.ndim, times)) and _takes_batches_of_times(network, x_t, *times):
            advice = "t is a scalar when sampling and (B,) in the loss: jnp.broadcast_to(t, x.shape[:1])"
            raise ValueError(advice) from error
        of_shapes = isinstance(error, TypeError | ValueError) and "custom_vjp" not in str(error)
        if of_shapes and _takes_batches_of_times(lambda x, *t: jax.vmap(network)(x, *t), x_t, *times):
            advice = "network takes one example: lambda x, t: jax.vmap(network)(x, jnp.broadcast_to(t, x.shape[:1]))"
            raise ValueError(advice) from error
        if "from a different trace level" in str(error):
            advice = "network must not change its state, as NNX does in training: model.eval(), or nnx.merge it inside"
            raise ValueError(advice) from error
        raise
    check_real(**{name: output})
    return output


def _takes_batches_of_times(network: Callable, x_t: PyTree, *times: ArrayLike) -> bool:
    """Whether a network traces, with an output like the state, for times ``(B,)``."""
    leading = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(x_t)}
    if len(leading) != 1 or leading == {()}:
        return False
    try:
        output = jax.eval_shape(network, x_t, *(jnp.broadcast_to(t, *leading) for t in times))
        check_like("x_t", x_t, output=output)
    except Exception:
        return False
    return True
