"""Denoisers and schedules as objects of other packages; each module needs its package, an optional extra."""

from scorekit.bridges import diffrax

__all__ = ["diffrax"]
