"""Densities as distributions of NumPyro: priors of a model, or whatever ``sample`` has. Needs ``scorekit[numpyro]``.

A :class:`~scorekit.likelihood.ModelDensity` has the score as the gradient of its log-density, also under ``jit``,
``vmap`` and inside ``numpyro.infer``. The other distributions are Gaussian, Mixture, GaussianMirage and RandomField of
:mod:`scorekit.densities`.

>>> import jax.numpy as jnp
>>> from scorekit import densities, denoisers, likelihood, schedules
>>> schedule = schedules.Cosine()
>>> denoiser = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), schedule)
>>> prior = distribution(likelihood.flow_density(denoiser, schedule, (1,)))
>>> prior.event_shape, prior.expand([3]).batch_shape
((1,), (3,))
>>> print(f"{prior.log_prob(jnp.zeros(1)):.2f}")
-0.92
"""

import functools
from typing import TYPE_CHECKING, Any

from scorekit.arguments import checked
from scorekit.densities import Gaussian, GaussianMirage, Mixture, RandomField
from scorekit.likelihood import ModelDensity

__all__ = ["distribution"]

if TYPE_CHECKING:
    from numpyro.distributions import Distribution


@functools.cache
def _class() -> Any:
    """The class of the distributions, made when it is first needed."""
    try:
        from numpyro import distributions
        from numpyro.distributions.util import validate_sample
    except ImportError as error:
        raise ImportError("scorekit.bridges.numpyro needs numpyro: pip install 'scorekit[numpyro]'") from error

    class DensityDistribution(distributions.Distribution):
        """A density with the methods of NumPyro."""

        pytree_data_fields = ("density",)

        def __init__(self, density, *, validate_args=None):
            self.density = density
            super().__init__((), _event_shape(density), validate_args=validate_args)

        @distributions.constraints.dependent_property(is_discrete=False)
        def support(self):
            return distributions.constraints.independent(distributions.constraints.real, len(self.event_shape))

        def sample(self, key, sample_shape=()):
            return self.density.sample(key, tuple(sample_shape))

        @validate_sample
        def log_prob(self, value):
            return self.density.log_density(value)

    return DensityDistribution


def _event_shape(density) -> tuple[int, ...]:
    if isinstance(density, ModelDensity):
        return density.event_shape
    return density.shape if isinstance(density, RandomField) else (density.dim,)


@checked
def distribution(
    density: ModelDensity | Gaussian | Mixture | GaussianMirage | RandomField, *, validate_args: bool | None = None
) -> "Distribution":
    """A ``numpyro.distributions.Distribution`` with the ``sample`` and the ``log_density`` of ``density``.

    The batch shape is empty: ``expand([n])`` makes n independent ones, whose points are evaluated together.

    Args:
      density: a density of :mod:`scorekit.likelihood` or :mod:`scorekit.densities`.
      validate_args: whether NumPyro warns of values outside of the support, which are all finite ones; by default as
        ``numpyro.enable_validation`` says.

    Returns:
      The distribution, a pytree: it crosses ``jit`` as an argument, and new parameters of a network do not retrace.
    """
    kinds = (ModelDensity, Gaussian, Mixture, GaussianMirage, RandomField)
    if not isinstance(density, kinds):
        raise ValueError(f"density must be one of {', '.join(kind.__name__ for kind in kinds)}, got {density!r}")
    return _class()(density, validate_args=validate_args)
