"""Checks that the modules of discrete diffusion share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from scorekit.checks import check, check_per_example
from scorekit.numerics import wide
from scorekit.numerics.codes import as_index
from scorekit.trees import is_traced
from scorekit.typing import Array, ArrayLike


def check_ends(alpha: Callable[[Array], Array]) -> None:
    """Raises a ``ValueError`` unless alpha starts at 1, ends at 0 (up to 0.01) and decreases; not if it is traced."""
    values = alpha(jnp.linspace(0.0, 1.0, 17))
    check(lambda a: a.shape == (17,), "an elementwise function of the time", alpha=values)
    check(lambda a: abs(a - 1.0) < 1e-5, "1, as data have no noise", **{"alpha(0)": values[0]})
    allowed = "in [0, 0.01], else tokens are never replaced"
    check(lambda a: (a >= -1e-6) & (a <= 0.01 + 1e-6), allowed, **{"alpha(1)": values[-1]})
    check(lambda a: a[1:] < a[:-1], "decreasing in t", alpha=values)


def check_codes(num_codes: int, **named: ArrayLike) -> None:
    """Raises a ``ValueError`` unless the arguments are not empty and hold integers in ``[0, num_codes)``."""
    for name, codes in named.items():
        if np.size(codes) == 0:
            raise ValueError(f"{name} must hold at least one token, got shape {np.shape(codes)}")
        dtype = jnp.asarray(codes).dtype
        if not jnp.issubdtype(dtype, jnp.integer):
            raise ValueError(f"{name} must hold integers, got dtype {dtype}")
        if not is_traced(codes) and not np.all((np.asarray(codes) >= 0) & (np.asarray(codes) < num_codes)):
            wrong = np.asarray(codes)[(np.asarray(codes) < 0) | (np.asarray(codes) >= num_codes)]
            raise ValueError(f"{name} must hold codes from 0 to {num_codes - 1}, got {wrong.flat[0]}")


def check_room(num_states: int, **named: DTypeLike) -> None:
    """Raises a ``ValueError`` unless the integer types hold all states."""
    for name, dtype in named.items():
        if np.iinfo(dtype).max < num_states - 1:
            allowed = f"of an integer type that holds 0 to {num_states - 1}"
            raise ValueError(f"{name} must be {allowed}, got {np.dtype(dtype)}")


def check_where(z: Array, where: ArrayLike | None) -> Array | None:
    """``where`` as a bool array of the shape of ``z``, with at least one token for every example."""
    if where is None:
        return None
    if not jnp.issubdtype(jnp.result_type(where), jnp.bool_):
        raise ValueError(f"where must hold booleans, got dtype {jnp.result_type(where)}")
    try:
        where = jnp.broadcast_to(where, z.shape)
    except ValueError:
        raise ValueError(f"where must broadcast to the tokens, {z.shape}, got {np.shape(where)}") from None
    if not is_traced(where) and not np.all(np.any(np.asarray(where).reshape(z.shape[0], -1), axis=1)):
        raise ValueError("where must leave at least one token to predict in every example")
    return where


def predict(denoiser, z: Array, t: ArrayLike, num_tokens: int) -> Array:
    """``denoiser(z, t)``, the log-probabilities ``(*z.shape, V)``, in at least float32 and normalised."""
    check_per_example(z, t=t)
    log_p = denoiser(as_index(z), t)
    if jnp.shape(log_p) != (*jnp.shape(z), num_tokens):
        shape = (*jnp.shape(z), num_tokens)
        raise ValueError(f"denoiser must return log-probabilities of shape {shape}, got {jnp.shape(log_p)}")
    of_library = getattr(getattr(denoiser, "func", None), "is_normalised", False)
    return wide(log_p) if of_library else normalised(log_p, "denoiser")


def normalised(log_p: Array, name: str) -> Array:
    """Log-probabilities ``(..., V)`` in at least float32; NaN where traced ones do not sum to 1.

    The sum may be off by 1e-3, in half precision by 4e-2: rounding all of ``-log V`` in bfloat16 costs up to 3e-2.
    """
    tolerance = 4e-2 if log_p.dtype.itemsize < 4 else 1e-3
    log_p = wide(log_p)
    total = jnp.sum(jnp.exp(jax.lax.stop_gradient(log_p)), axis=-1)
    off = jnp.abs(total - 1.0)
    if not is_traced(off) and np.any(off > tolerance):  # NaN stays NaN
        allowed = "normalised log-probabilities (see denoiser_from_network), which sum to 1"
        raise ValueError(f"{name} must return {allowed}, got {total.ravel()[np.nanargmax(off)]:g}")
    # not jnp.where with a constant NaN: XLA on a CPU computes numbers for the exponential of that
    return log_p + 0.0 * jnp.sqrt(tolerance - off)[..., None]
