"""The decorator of what can be checked."""

import dataclasses
from typing import TypeVar, dataclass_transform

from scorekit.arguments import checked

_T = TypeVar("_T")


@dataclass_transform(kw_only_default=True, frozen_default=True, eq_default=False)
def subject(cls: type[_T]) -> type[_T]:
    """A frozen dataclass with keyword arguments whose bounds are checked."""
    made = dataclasses.dataclass(frozen=True, kw_only=True, eq=False)(cls)
    made.__init__ = checked(made.__init__)
    return made
