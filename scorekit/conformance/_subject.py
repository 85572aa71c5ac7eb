"""The decorator of a subject to check, and calls of its functions."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

import numpy as np

from scorekit.arguments import checked

_T = TypeVar("_T")


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
def subject(cls: type[_T]) -> type[_T]:
    """A frozen dataclass with keyword arguments whose bounds are checked."""
    made = dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
    made.__init__ = checked(made.__init__)
    return made


def call(name: str, function: Callable, *args: Any, shape: tuple[int, ...]) -> np.ndarray:
    """The result of a subject's function, in float64; it gets copies of the arrays, and may work in place."""
    value = np.asarray(function(*(each.copy() if isinstance(each, np.ndarray) else each for each in args)))
    if value.shape != shape:
        raise ValueError(f"{name} must return shape {shape}, got {value.shape}")
    if np.iscomplexobj(value):
        raise ValueError(f"{name} must return real numbers, got dtype {value.dtype}")
    return value.astype(float)
