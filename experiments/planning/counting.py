"""Operations of a program, counted before it is compiled."""

import math
from typing import Any

_PRODUCTS = {"attention": 2, "attention_gradient": 5, "attention_tangent": 6}  # of fused attention


def flops(jaxpr: Any) -> float:
    """Twice the multiplications of matrix products and convolutions of all devices, without those by inserted zeros.

    The body of a scan counts as often as it runs, the body of ``shard_map`` once for each device, of branches the one
    with the most. Kernels count as much as they say.

    >>> import jax, jax.numpy as jnp
    >>> cubed = lambda x: jax.lax.scan(lambda y, _: (y @ x, None), x, None, length=3)[0]
    >>> flops(jax.make_jaxpr(cubed)(jnp.ones((4, 4))))
    384.0
    """
    return sum(map(_of_equation, jaxpr.eqns), 0.0)


def _of_equation(equation: Any) -> float:
    name, parameters = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        return 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel, features = equation.invars[1].aval.shape, parameters["dimension_numbers"].rhs_spec[0]
        products = equation.outvars[0].aval.size * math.prod(kernel) / kernel[features]
        return 2.0 * products / math.prod(parameters["lhs_dilation"])
    if name in _PRODUCTS:
        query, key = (each.aval for each in equation.invars[:2])
        return 2.0 * _PRODUCTS[name] * query.size * key.shape[1]
    if name == "pallas_call":
        estimate = parameters.get("cost_estimate")
        return float(estimate.flops) if estimate else 0.0
    if name == "cond":
        return max(flops(branch.jaxpr) for branch in parameters["branches"])
    times = parameters["length"] if name == "scan" else parameters["mesh"].size if name == "shard_map" else 1
    inner = (getattr(value, "jaxpr", value) for value in parameters.values())
    return times * sum(flops(each) for each in inner if hasattr(each, "eqns"))
