"""Self-attention by JAX's own function, or by a fused kernel of the platform that a program is lowered for.

Which kernel there is is known when a program is lowered, not when it is traced: a program that is lowered for a GPU or
a TPU on another machine, to be compiled, exported or planned, is the one that runs there.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from scorekit.arguments import checked
from scorekit.typing import Array

__all__ = ["ATTENTION", "Attention", "attend"]

Attention: TypeAlias = Literal["xla", "fused"]
"""The name of an implementation."""
ATTENTION = get_args(Attention)
"""The implementations that :func:`attend` knows."""


@checked
def attend(query: Array, key: Array, value: Array, implementation: Attention = "xla", *, causal: bool = False) -> Array:
    """Multi-head attention ``softmax(q k^T / sqrt(d)) v`` in the dtype of ``query``, softmax in float32.

    Args:
      query: ``(B, T, heads, d)``.
      key: ``(B, S, heads, d)``.
      value: likewise.
      implementation: ``"xla"`` stores the ``T x S`` weights for the gradient. ``"fused"`` never does, nor moves them
        through the memory of the device: on NVIDIA GPUs from compute capability 8.0 the flash attention of cuDNN, in
        bfloat16 or float16 with heads of at most 128 features, a multiple of 8; on TPUs a kernel for bfloat16 or
        float32 and as many positions as fit on the chip, about 2,000; elsewhere ``"xla"``. Its forward-mode and second
        derivatives are those of ``"xla"``. A program over several devices that is not in ``jax.shard_map`` falls back,
        as does one that is lowered on a machine with an older GPU; lowered elsewhere for such a GPU, it does not run.
      causal: whether a position attends to itself and earlier positions only.

    >>> attend(*jnp.ones((3, 2, 4, 1, 8))).shape
    (2, 4, 1, 8)
    """
    if implementation == "xla":
        return _attention(query, key, value, causal=causal)[0]
    return _ATTENTION.bind(query, key, value, causal=causal)[0]


def _attention(query: Array, key: Array, value: Array, *, causal: bool) -> list[Array]:
    return [jax.nn.dot_product_attention(query, key, value, is_causal=causal)]


def _tangent(query: Array, key: Array, value: Array, *tangents: Array, causal: bool) -> list[Array]:
    return jax.jvp(functools.partial(_attention, causal=causal), (query, key, value), tangents)[1]


def _gradient(query: Array, key: Array, value: Array, g: Array, *, causal: bool) -> list[Array]:
    return list(jax.vjp(functools.partial(_attention, causal=causal), query, key, value)[1]([g]))


def _primitive(name: str, function: Callable[..., list[Array]], outputs: int) -> Primitive:
    """A primitive that is computed and differentiated as ``function``, with outputs of the shapes of its inputs."""
    primitive = Primitive(name)
    primitive.multiple_results = True
    primitive.def_impl(jax.jit(primitive.bind, static_argnames="causal"))
    primitive.def_abstract_eval(lambda *arrays, causal: list(arrays[:outputs]))
    mlir.register_lowering(primitive, mlir.lower_fun(function))

    def batch(arrays, axes, causal):
        size = next(x.shape[axis] for x, axis in zip(arrays, axes, strict=True) if axis is not None)
        arrays = [batching.bdim_at_front(x, axis, size) for x, axis in zip(arrays, axes, strict=True)]
        found = primitive.bind(*(x.reshape(-1, *x.shape[2:]) for x in arrays), causal=causal)
        return [x.reshape(size, -1, *x.shape[1:]) for x in found], [0] * outputs

    def jvp(primals, tangents, causal):
        tangents = tuple(map(ad.instantiate_zeros, tangents))
        _, tangents = jax.jvp(functools.partial(function, causal=causal), primals, tangents)
        return primitive.bind(*primals, causal=causal), tangents

    batching.primitive_batchers[primitive] = batch
    ad.primitive_jvps[primitive] = jvp
    return primitive


_ATTENTION = _primitive("attention", _attention, 1)
_TANGENT = _primitive("attention_tangent", _tangent, 1)
_GRADIENT = _primitive("attention_gradient", _gradient, 3)


def _jvp(primals, tangents, causal):
    tangents = map(ad.instantiate_zeros, tangents)
    return _ATTENTION.bind(*primals, causal=causal), _TANGENT.bind(*primals, *tangents, causal=causal)


def _transposed(cotangents, *arrays, causal):
    (g,) = map(ad.instantiate_zeros, cotangents)
    return [None] * 3 + _GRADIENT.bind(*arrays[:3], g, causal=causal)


ad.primitive_jvps[_ATTENTION] = _jvp
ad.primitive_transposes[_TANGENT] = _transposed


# ---- the kernels of a platform ------------------------------------------------------------------------------------


def _kernels_of_gpu(query: Any, key: Any) -> Any:
    """The module with the kernels, or None where they do not take the arrays."""
    if jax.default_backend() == "gpu" and any(float(d.compute_capability) < 8 for d in jax.local_devices()):
        return None
    from scorekit.networks.attention import _cudnn as kernels

    size = query.shape[-1]
    return kernels if query.dtype in (jnp.bfloat16, jnp.float16) and size <= 128 and size % 8 == 0 else None


def _kernels_of_tpu(query: Any, key: Any) -> Any:
    from scorekit.networks.attention import _tpu as kernels

    return kernels if query.dtype in (jnp.bfloat16, jnp.float32) and kernels.blocks(query, key) else None


def _lower(primitive: Primitive, plain: Callable, name: str, platform: str, kernels_for: Callable) -> None:
    """Kernels are not split: they are for programs in which each device has arrays of its own."""

    def rule(ctx: Any, *arrays: Any, causal: bool) -> Any:
        context = ctx.module_context.axis_context
        if isinstance(context, mlir.ShardingContext):
            local = context.num_devices == 1
        else:
            local = not isinstance(context, mlir.SPMDAxisContext) or context.manual_axes == {*context.mesh.axis_names}
        kernels = kernels_for(*ctx.avals_in[:2]) if local else None
        function = plain if kernels is None else getattr(kernels, name)
        return mlir.lower_fun(function)(ctx, *arrays, causal=causal)

    mlir.register_lowering(primitive, rule, platform=platform)


for _platform, _kernels in (("cuda", _kernels_of_gpu), ("tpu", _kernels_of_tpu)):
    _lower(_ATTENTION, _attention, "attention", _platform, _kernels)
    _lower(_GRADIENT, _gradient, "gradient", _platform, _kernels)
