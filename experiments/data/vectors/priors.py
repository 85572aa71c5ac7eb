"""Priors of parameters: a density of scorekit, a NumPyro distribution, or any object that samples and has a density."""

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli.config import Config, ConfigError
from scorekit.typing import Array, Key


class Prior(NamedTuple):
    """A distribution of vectors ``(D,)``, by the methods ``sample(key, shape)`` and ``log_density`` or ``log_prob``.

    Attributes:
      given: the object.
    """

    given: Any

    def sample(self, key: Key, number: int) -> Array:
        """Draws ``(number, D)``."""
        drawn = jnp.asarray(self.given.sample(key, (number,)))
        return drawn.reshape(number, -1)

    def log_prob(self, x: Array) -> Array:
        """``log p(x)`` of ``(..., D)``; independent scalars are summed."""
        log_density = getattr(self.given, "log_density", None) or self.given.log_prob
        scalar = not hasattr(self.given, "log_density") and getattr(self.given, "batch_shape", None) == ()
        scalar = scalar and getattr(self.given, "event_shape", None) == ()
        found = log_density(x[..., 0] if scalar else x)
        return found.sum(-1) if found.ndim == x.ndim else found


def named_object(text: str, field: str) -> Any:
    """The object of ``module:name``."""
    module, _, name = text.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"config.{field}={text}: must be module:name of a module on the path; {error}") from error


def prior_of(config: Config) -> Prior:
    """The prior that ``config.data.prior`` names."""
    found = named_object(config.data.prior, "data.prior")
    if not hasattr(found, "sample") and isinstance(found, Callable):
        found = found()
    if not hasattr(found, "sample") or not (hasattr(found, "log_prob") or hasattr(found, "log_density")):
        allowed = "an object with sample(key, shape) and log_prob or log_density, or a function that returns one"
        raise ConfigError(f"config.data.prior={config.data.prior}: must be {allowed}")
    return Prior(found)


def check_support(prior: Prior, x: np.ndarray, names: tuple[str, ...]) -> None:
    """Raises a ``ValueError`` that names the first row at which the prior has no density."""
    found = np.asarray(prior.log_prob(jnp.asarray(x, float)))
    for row in np.flatnonzero(~np.isfinite(found))[:1]:
        values = ", ".join(f"{name}={value:g}" for name, value in zip(names, x[row], strict=True))
        raise ValueError(
            f"row {row + 1}: must lie in the support of data.prior, which has log-density {found[row]} at {values}"
        )


def support(prior: Prior | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of the columns, as far as the prior says them; none without a prior."""
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    given = None if prior is None else prior.given
    own = getattr(given, "bounds", None)
    constraint: Any = getattr(given, "support", None)
    while getattr(constraint, "base_constraint", None) is not None:  # of NumPyro's independent columns
        constraint = constraint.base_constraint
    limits = own if own is not None else constraint
    ends = [("lower", "lower_bound"), ("upper", "upper_bound")]
    found = [next((getattr(limits, n) for n in names if getattr(limits, n, None) is not None), None) for names in ends]
    for bound, value in zip((lower, upper), found, strict=True):
        if value is not None:
            bound[:] = np.asarray(jax.device_get(value), float)
    return lower, upper
