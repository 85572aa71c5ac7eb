"""Examples and samples that are not finite: an error of data, NaN of samples."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments.cli.config import ConfigError
from scorekit.typing import Array


def zero_not_finite(x: Array) -> Array:
    """``x`` with 0 for what is not finite: for rounding, which does not take it, before :func:`keep_not_finite`.

    >>> print(zero_not_finite(jnp.array([0.5, jnp.inf, jnp.nan])))
    [0.5 0.  0. ]
    """
    return jnp.where(jnp.isfinite(x), x, 0.0)


def keep_not_finite(data: Array, *sources: Array) -> Array:
    """``data`` with NaN for every example that is not finite in a source: rounding and clipping would hide it.

    >>> print(keep_not_finite(jnp.ones((2, 1)), jnp.array([[0.5], [jnp.inf]])))
    [[ 1.]
     [nan]]
    """
    flat = [jnp.asarray(source).reshape(len(source), -1) for source in sources]
    finite = jnp.stack([jnp.isfinite(source).all(axis=1) for source in flat]).all(axis=0)
    return jnp.where(finite.reshape(-1, *[1] * (data.ndim - 1)), data, jnp.nan)


def check_examples(part: Mapping[str, Any], given: str, what: str) -> None:
    """Validates that arrays of examples are finite; those that are on a device are left out.

    ``given`` is the field of the config that names them, for the error message, ``what`` a name for the examples.

    >>> part = {"x": np.array([[0.0], [np.nan]]), "label": np.array([0, 1])}
    >>> check_examples(part, "config.data.name=ring", "training examples")
    Traceback (most recent call last):
    experiments.cli.config.ConfigError: config.data.name=ring: x of 1 of 2 training examples is not finite; ...
    """
    for name, value in part.items():
        if isinstance(value, np.ndarray) and jnp.issubdtype(value.dtype, jnp.floating):
            finite = np.isfinite(value).reshape(len(value), -1).all(axis=1)
            if not finite.all():
                raise ConfigError(
                    f"{given}: {name} of {np.sum(~finite)} of {len(value)} {what} is not finite; repair or remove them"
                )
