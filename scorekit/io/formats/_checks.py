"""What the layouts of the networks of ADM share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.io.tensors import check_params
from scorekit.networks import ADM


def check_against(network: ADM, params: dict[str, Any], channels: int) -> dict[str, Any]:
    """``{"params": params}``, if they fit the network for data of so many channels."""
    side = 2 ** (len(network.multipliers) - 1)
    x = jax.ShapeDtypeStruct((1, *(side,) * (params["input"]["kernel"].ndim - 2), channels), jnp.float32)
    check_params({"params": params}, jax.eval_shape(network.init, jax.random.key(0), x, jnp.zeros(1)))
    return {"params": params}


def with_null_row(table: np.ndarray) -> np.ndarray:
    """The embeddings ``(K, features)`` of the labels, and one of zeros for the null label K.

    >>> with_null_row(np.ones((1, 2)))
    array([[1., 1.],
           [0., 0.]])
    """
    return np.concatenate([table, np.zeros_like(table[:1])])
