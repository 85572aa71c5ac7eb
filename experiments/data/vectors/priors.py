"""Priors of parameters: a density of scorekit, a NumPyro distribution, or any object that samples and has a density."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.cli import choices
from experiments.cli.config import ConfigError, require
from scorekit.typing import Array, Key


class Prior(NamedTuple):
    """A distribution of vectors ``(D,)``, by the methods ``sample(key, shape)`` and ``log_density`` or ``log_prob``.

    Attributes:
      given: the object.
    """

    given: Any

    def sample(self, key: Key, number: int) -> Array:
        """Draws ``(number, D)``."""
        return jnp.asarray(self.given.sample(key, (number,))).reshape(number, -1)

    def log_prob(self, x: Array) -> Array:
        """``log p(x)`` of ``(..., D)``; independent scalars are summed."""
        log_density = getattr(self.given, "log_density", None) or self.given.log_prob
        scalar = not hasattr(self.given, "log_density") and getattr(self.given, "batch_shape", None) == ()
        scalar = scalar and getattr(self.given, "event_shape", None) == ()
        values = log_density(x[..., 0] if scalar else x)
        return values.sum(-1) if values.ndim == x.ndim else values


def named_object(text: str, argument: str) -> Any:
    """The object of ``module:name``, which an argument of the data gives."""
    try:
        return choices.named_object(text)
    except (ImportError, AttributeError, ValueError) as error:
        allowed = "module:name of a module on the path"
        raise ConfigError(f"config.data.{argument}={text}: must be {allowed}; {error}") from error


def prior_of(text: str) -> Prior:
    """The prior that ``module:name`` is, or returns."""
    given = named_object(text, "prior")
    if not hasattr(given, "sample") and callable(given):
        given = given()
    fits = hasattr(given, "sample") and (hasattr(given, "log_prob") or hasattr(given, "log_density"))
    allowed = "an object with sample(key, shape) and log_prob or log_density, or a function that returns one"
    require(fits, "data.prior", text, allowed)
    return Prior(given)


def check_support(prior: Prior, x: np.ndarray, names: tuple[str, ...]) -> None:
    """Raises a ``ValueError`` that names the first row at which the prior has no density."""
    log_prob = np.asarray(prior.log_prob(jnp.asarray(x, float)))
    for row in np.flatnonzero(~np.isfinite(log_prob))[:1]:
        values = ", ".join(f"{name}={value:g}" for name, value in zip(names, x[row], strict=True))
        allowed = "in the support of the prior, which has log-density"
        raise ValueError(f"row {row + 1}: must lie {allowed} {log_prob[row]} at {values}")


def support(prior: Prior | None, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of the columns, as far as the prior says them; none without a prior."""
    lower, upper = np.full(size, -np.inf), np.full(size, np.inf)
    given = None if prior is None else prior.given
    limits: Any = getattr(given, "bounds", None)
    limits = getattr(given, "support", None) if limits is None else limits
    while getattr(limits, "base_constraint", None) is not None:  # of NumPyro's independent columns
        limits = limits.base_constraint
    for bound, names in ((lower, ("lower", "lower_bound")), (upper, ("upper", "upper_bound"))):
        values = [getattr(limits, name) for name in names if getattr(limits, name, None) is not None]
        if values:
            bound[:] = np.asarray(jax.device_get(values[0]), float)
    return lower, upper
