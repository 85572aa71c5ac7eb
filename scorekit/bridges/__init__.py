"""Denoisers, schedules and densities as objects of other packages, each of which is an optional extra."""

from scorekit.bridges import blackjax, diffrax, numpyro

__all__ = ["blackjax", "diffrax", "numpyro"]
