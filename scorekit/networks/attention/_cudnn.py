"""The flash attention of cuDNN and its gradient, as XLA's compiler for NVIDIA GPUs knows them by name.

The calls are those of :func:`jax.nn.dot_product_attention`, which needs cuDNN on the machine that lowers a program.
"""

import json
import math
from typing import Any

import jax
import jax.numpy as jnp

from scorekit.typing import Array

_CONTRACTED = {  # of each product the axes that are summed and batch axes, of (B, T, heads, d) or (B, heads, T, S)
    False: {"bmm1": (3, 3, (0, 2), (0, 2)), "bmm2": (3, 1, (0, 1), (0, 2))},
    True: {
        "bmm1_grad_gemm1": (2, 1, (0, 1), (0, 2)),
        "bmm1_grad_gemm2": (3, 1, (0, 1), (0, 2)),
        "bmm2_grad_gemm1": (2, 1, (0, 1), (0, 2)),
        "bmm2_grad_gemm2": (3, 3, (0, 2), (0, 2)),
    },
}


def attention(query: Array, key: Array, value: Array, *, causal: bool) -> list[Array]:
    """Attention ``(B, T, heads, d)``, alone in a list."""
    return [_forward(query, key, value, causal)[0]]


def gradient(query: Array, key: Array, value: Array, g: Array, *, causal: bool) -> list[Array]:
    """The gradients of ``sum(g attention)``; where the same attention is computed, the compiler does so once."""
    out, statistics = _forward(query, key, value, causal)
    found = _call(True, causal, (query, key, value, statistics, g, out), (query, key, value))
    return [x.swapaxes(1, 2) for x in found]


def _forward(query: Array, key: Array, value: Array, causal: bool) -> tuple[Array, Array]:
    batch, length, heads, _ = query.shape
    statistics = jax.ShapeDtypeStruct((batch, heads, length), jnp.float32)
    out, found = _call(False, causal, (query, key, value), (query,), statistics)
    return out.swapaxes(1, 2), found


def _call(backward: bool, causal: bool, arrays: tuple, like: tuple, *others: Any) -> list[Array]:
    """The results, of which ``like`` have the axes ``(B, heads, T, d)`` in memory as ``(B, T, heads, d)``."""
    query, key = arrays[:2]
    (batch, length, heads, size), kind = query.shape, {"bfloat16": "BF16", "float16": "F16"}[query.dtype.name]
    weights = {
        "element_type": kind,
        "dimensions": [str(n) for n in (batch, heads, length, key.shape[1])],
        "tuple_shapes": [],
        "layout": {
            "dim_level_types": [],
            "dim_unique": [],
            "dim_ordered": [],
            "minor_to_major": ["3", "2", "1", "0"],
            "tiles": [],
            "element_size_in_bits": "0",
            "memory_space": "0",
            "index_primitive_type": "PRIMITIVE_TYPE_INVALID",
            "pointer_primitive_type": "PRIMITIVE_TYPE_INVALID",
            "dynamic_shape_metadata_prefix_bytes": "0",
        },
        "is_dynamic_dimension": [False] * 4,
    }
    products = {
        f"{name}_dot_dimension_numbers": {
            "lhs_contracting_dimensions": [str(left)],
            "rhs_contracting_dimensions": [str(right)],
            "lhs_batch_dimensions": [str(axis) for axis in left_batch],
            "rhs_batch_dimensions": [str(axis) for axis in right_batch],
        }
        for name, (left, right, left_batch, right_batch) in _CONTRACTED[backward].items()
    }
    algorithm = {
        "algo_id": "0",
        "math_type": "TENSOR_OP_MATH",
        "tuning_knobs": {"17": "1", "24": "0"},
        "is_cudnn_frontend": True,
        "workspace_size": "0",
    }
    config = {
        "algorithm": algorithm,
        "fmha_scale": 1 / math.sqrt(size),
        "intermediate_tensor_shape": weights,
        "is_flash_attention": True,
        "mask_type": "CAUSAL" if causal else "NO_MASK",
        **products,
        "dropout_rate": 0.0,
        "seed": 42,
        "sliding_window_length": 0,
        "max_seg_per_batch": 1,
        "is_paged_attention": False,
    }
    shapes = [jax.ShapeDtypeStruct([x.shape[axis] for axis in (0, 2, 1, 3)], x.dtype) for x in like]
    results = [*shapes, *others, jax.ShapeDtypeStruct((0,), jnp.uint8)]
    call = jax.ffi.ffi_call(
        f"__cudnn$fmhaSoftmax{'Backward' * backward}",
        results,
        output_layouts=[(0, 2, 1, 3)] * len(like) + [tuple(range(x.ndim)) for x in results[len(like) :]],
        custom_call_api_version=2,
        legacy_backend_config=json.dumps({"operation_queue_id": "0", "cudnn_fmha_backend_config": config}),
    )
    return list(call(*arrays)[:-1])
