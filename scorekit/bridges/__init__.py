"""Denoisers, schedules and densities as objects of other packages, each of which is an optional extra."""

from scorekit.bridges import diffrax, numpyro

__all__ = ["diffrax", "numpyro"]
