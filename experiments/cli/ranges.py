"""The values that fields of a config may have: every section has its ranges next to its fields.

A field, its bounds and the words for them are one line of a table::

    RANGES = {"steps": count(1), "learning_rate": above(0), "ema_decays": items(between(0, 1, open_high=True))}

NaN and infinities are in no range. A text is one of some names, or free, which is stated: ``free("a folder")``.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from ml_collections import ConfigDict

from experiments.cli.config import check_config, hint, leaves, lookup, require

LARGEST = 2**31 - 1
"""Of counts: the largest 32-bit integer."""


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers, of integers only if ``integer``; with ``optional``, None is allowed too."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    integer: bool = False
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether the value is in the range.

        >>> [above(0).allows(x) for x in (1.5, 0.0, math.nan, math.inf, 10**400, "1", True)]
        [True, False, False, False, False, False, False]
        """
        if value is None:
            return self.optional
        if type(value) not in ((int,) if self.integer else (int, float)) or not abs(value) <= sys.float_info.max:
            return False
        above_low = value > self.low if self.open_low else value >= self.low
        return above_low and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if not (self.integer or self.open_low or self.open_high) and -math.inf < self.low and self.high < math.inf:
            parts = [f"in [{self.low:.16g}, {self.high:.16g}]"]
        else:
            low, high = "above" if self.open_low else "at least", "below" if self.open_high else "at most"
            parts = [f"{low} {self.low:.16g}"] if -math.inf < self.low else []
            parts += [f"{high} {self.high:.16g}"] if self.high < math.inf else []
            parts += ["an integer"] if self.integer else ["finite"] * (len(parts) < 2)
        return " and ".join([", ".join(parts[:-1]), parts[-1]] if parts[:-1] else parts)

    def short(self) -> str:
        """Type and interval.

        >>> between(0, 1, open_high=True).short(), above(0).short(), count(1).short(), finite.short()
        ('float in [0, 1)', 'float > 0', 'int >= 1', 'float')
        """
        kind = "int" if self.integer else "float"
        is_low, is_high = -math.inf < self.low, self.high < (LARGEST if self.integer else math.inf)
        if is_low and is_high:
            opening, closing = "(" if self.open_low else "[", ")" if self.open_high else "]"
            return f"{kind} in {opening}{_bound(self.low)}, {_bound(self.high)}{closing}"
        low, high = ">" if self.open_low else ">=", "<" if self.open_high else "<="
        bound = f" {low} {_bound(self.low)}" if is_low else f" {high} {_bound(self.high)}" if is_high else ""
        return f"{kind}{bound}"


def _bound(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


@dataclass(frozen=True)
class Items:
    """A list of at least ``least`` numbers, each of them in a range; with ``optional``, None is allowed too."""

    each: Range
    least: int = 0
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether all items are in the range."""
        if value is None:
            return self.optional
        return isinstance(value, tuple | list) and len(value) >= self.least and all(map(self.each.allows, value))

    def __str__(self) -> str:
        least = f"at least {self.least} number{'s' * (self.least > 1)}" if self.least else "numbers"
        return f"a list of {least}, each {self.each}"

    def short(self) -> str:
        """Type and interval of the items.

        >>> items(above(0), least=2).short()
        'list of float > 0, at least 2'
        """
        return f"list of {self.each.short()}{f', at least {self.least}' if self.least else ''}"


@dataclass(frozen=True)
class Names:
    """One of some names; with ``optional``, None is allowed too."""

    names: tuple[str, ...]
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether it is one of the names."""
        return value in self.names or (value is None and self.optional)

    def __str__(self) -> str:
        return f"one of {', '.join(self.names)}"

    short = __str__


@dataclass(frozen=True)
class Free:
    """Any value of the type, or one that a check of its own validates; ``what`` it is."""

    what: str
    optional: bool = False

    def allows(self, value: Any) -> bool:
        """Whether it is set, or need not be."""
        return value is not None or self.optional

    def __str__(self) -> str:
        return "set"

    def short(self) -> str:
        """What it is."""
        return self.what


Allowed: TypeAlias = Range | Items | Names | Free
Ranges: TypeAlias = Mapping[str, Allowed]
"""By field, as a dotted path."""

finite = Range()
"""Any number but NaN and the infinities."""


def above(low: float) -> Range:
    """Finite numbers above ``low``.

    >>> print(above(0))
    above 0 and finite
    """
    return Range(low, open_low=True)


def at_least(low: float) -> Range:
    """Finite numbers from ``low`` on."""
    return Range(low)


def between(low: float, high: float, *, open_low: bool = False, open_high: bool = False) -> Range:
    """Numbers from ``low`` to ``high``.

    >>> print(between(0, 1), "|", between(0, 1, open_low=True))
    in [0, 1] | above 0 and at most 1
    """
    return Range(low, high, open_low, open_high)


def count(low: int, high: int = LARGEST) -> Range:
    """Integers from ``low`` to ``high``.

    >>> print(count(1, 1000))
    at least 1, at most 1000 and an integer
    """
    return Range(low, high, integer=True)


def items(each: Range, least: int = 0) -> Items:
    """Lists of at least ``least`` numbers.

    >>> print(items(above(0), least=1))
    a list of at least 1 number, each above 0 and finite
    """
    return Items(each, least)


def one_of(*names: str) -> Names:
    """Names.

    >>> print(one_of("jit", "pmap"))
    one of jit, pmap
    """
    return Names(names)


def free(what: str) -> Free:
    """A text that has no range: ``what`` it is, in the table of fields."""
    return Free(what)


def typed(kind: type, allowed: Allowed | None, *, optional: bool = False) -> str:
    """The type and range of a field in a few words, nothing if it has no range and its type does not say it.

    >>> typed(int, count(1), optional=True), typed(bool, None), typed(str, None)
    ('int >= 1, or None', 'true or false', '')
    """
    words = allowed.short() if allowed is not None else "true or false" if kind is bool else ""
    return f"{words}, or None" if optional and words else words


def or_none(**ranges: Allowed) -> dict[str, Allowed]:
    """The ranges of fields that may be None: those of a factory, where it is the default, or those it switches off."""
    return {field: replace(allowed, optional=True) for field, allowed in ranges.items()}


def within(section: str, ranges: Ranges) -> dict[str, Allowed]:
    """The ranges of a section by their full paths.

    >>> list(within("training", {"steps": count(1)}))
    ['training.steps']
    """
    return {f"{section}.{field}": allowed for field, allowed in ranges.items()}


def check_ranges(config: ConfigDict, ranges: Ranges) -> None:
    """Checks the values of all fields of a config that have a range.

    Raises:
      ConfigError: naming the first field that is out of its range.
    """
    for field, value in leaves(config):
        if field in ranges:
            allowed = ranges[field]
            near = hint(value, allowed.names) if isinstance(allowed, Names) else ""
            require(allowed.allows(value), field, value, f"{allowed}{near}")


def check_fields_and_ranges(config: ConfigDict, defaults: ConfigDict, ranges: Ranges) -> None:
    """Checks that a config has the fields of ``defaults`` and no others, with values of their types and ranges.

    Raises:
      ConfigError: naming the first field that does not.
    """
    check_config(config, defaults)
    check_ranges(config, ranges)
    for field, default in leaves(defaults):
        value = lookup(config, field)
        require(value is not None or default is None or field in ranges, field, value, "set")
