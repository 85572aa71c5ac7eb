"""Self-attention by JAX's own function, or by cuDNN's fused kernel where it applies."""

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.typing import Array

__all__ = ["ATTENTION", "Attention", "attend"]

Attention: TypeAlias = Literal["xla", "fused"]
"""The name of an implementation."""
ATTENTION = get_args(Attention)
"""The implementations that :func:`attend` knows."""


@checked
def attend(query: Array, key: Array, value: Array, implementation: Attention = "xla") -> Array:
    """Multi-head attention ``softmax(q k^T / sqrt(d)) v`` in the dtype of ``query``, softmax in float32.

    Args:
      query: ``(B, T, heads, d)``.
      key: likewise.
      value: likewise.
      implementation: ``"xla"`` works under every transformation and stores the ``T x T`` weights for the gradient.
        ``"fused"`` is the flash attention of cuDNN, which does not: on NVIDIA GPUs from compute capability 8.0, in
        bfloat16 or float16, with heads of at most 128 features, a multiple of 8; elsewhere ``"xla"``. It has no
        forward-mode derivative, which exact likelihoods need.

    >>> attend(*jnp.ones((3, 2, 4, 1, 8))).shape
    (2, 4, 1, 8)
    """
    fused = implementation == "fused" and _fused_applies(query)
    return jax.nn.dot_product_attention(query, key, value, implementation="cudnn" if fused else "xla")


def _fused_applies(query: Array) -> bool:
    """Whether cuDNN's flash attention takes ``query``."""
    device = jax.local_devices()[0]
    if "cuda" not in device.client.platform_version or float(device.compute_capability) < 8:
        return False
    size = query.shape[-1]
    return query.dtype in (jnp.bfloat16, jnp.float16) and size <= 128 and size % 8 == 0
