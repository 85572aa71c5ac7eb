"""The bounds that an annotation may have: which values are allowed, in words, and some outside and inside."""

import dataclasses
import math
import operator
from typing import Any, ClassVar, cast

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


class Bound:
    """The values that an argument may have: subclasses say in words which, and name some outside and some inside.

    Attributes:
      kind: type of a field of a config with this bound.

    >>> isinstance(Count(), Bound)
    True
    """

    kind: ClassVar[type] = float

    def __repr__(self) -> str:
        fields = [(each, getattr(self, each.name)) for each in dataclasses.fields(cast(Any, self))]
        text = ", ".join(f"{each.name}={value!r}" for each, value in fields if value != each.default)
        return f"{type(self).__name__}({text})"

    def allows(self, value: Any) -> bool:
        """Whether a concrete value is allowed."""
        raise NotImplementedError

    def check(self, name: str, value: Any) -> None:
        """Raises a ``ValueError`` that names the argument, its value and what is allowed.

        >>> Count(2).check("steps", 1)
        Traceback (most recent call last):
        ValueError: steps must be an integer >= 2, got 1
        """
        if isinstance(value, Tracer) or not self.allows(value):
            raise ValueError(f"{name} must be {self}, got {value!r}")

    def outside(self) -> tuple:
        """Values that are not allowed, near each end and of other types."""
        raise NotImplementedError

    def inside(self) -> tuple:
        """Allowed values, near each end."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, repr=False)
class Between(Bound):
    """Real numbers from ``low`` to ``high``, or arrays of them, never empty; finite, unless ``infinite``.

    Attributes:
      low: smallest value.
      high: largest value.
      open: the ends that are excluded: "", "low", "high" or "both".
      infinite: whether an infinity within the ends is allowed.

    >>> print(Between(0, 1, "low"), Between(low=0), Between(low=0).allows(np.array([1.0, -1.0])))
    in (0, 1] finite and >= 0 False
    """

    low: float = -math.inf
    high: float = math.inf
    open: str = ""
    infinite: bool = False

    def holds(self, x: Any) -> Any:
        """Elementwise, whether numbers are within the bound; traced or concrete, as ``nan_unless`` takes it."""
        above = x > self.low if self.open in ("low", "both") else x >= self.low
        below = x < self.high if self.open in ("high", "both") else x <= self.high
        return above & below if self.infinite else above & below & (abs(x) < math.inf)

    def allows(self, value: Any) -> bool:
        if type(value) is float:
            return bool(self.holds(value))
        if type(value) is int:  # an array has no room for more
            return abs(value) < 2**63 and bool(self.holds(value))
        try:
            array = np.asarray(value)
        except ValueError:  # ragged
            return False
        real = jnp.issubdtype(array.dtype, np.floating) or jnp.issubdtype(array.dtype, np.integer)
        return bool(real and array.size and np.all(self.holds(array)))

    def check(self, name: str, value: Any) -> None:
        if isinstance(value, Tracer):
            if jnp.issubdtype(value.dtype, jnp.complexfloating):
                raise ValueError(f"{name} must be {self}, got {value.dtype}")
        elif not self.allows(value):
            also = " and not empty" if _is_empty(value) else ""
            raise ValueError(f"{name} must be {self}{also}, got {value if _is_numeric(value) else repr(value)}")

    def __str__(self) -> str:
        opening, closing = "[("[self.open in ("low", "both")], "])"[self.open in ("high", "both")]
        if self.low > -math.inf and self.high < math.inf:
            return f"in {opening}{self.low:g}, {self.high:g}{closing}"
        finite = [] if self.infinite else ["finite"]
        low = [f"{'>' if opening == '(' else '>='} {self.low:g}"] if self.low > -math.inf else []
        high = [f"{'<' if closing == ')' else '<='} {self.high:g}"] if self.high < math.inf else []
        return " and ".join(finite + low + high) or "a number"

    def outside(self) -> tuple:
        beyond = [self.low - 0.1] * (self.low > -math.inf) + [self.high + 0.1] * (self.high < math.inf)
        ends = [self.low] * (self.open in ("low", "both")) + [self.high] * (self.open in ("high", "both"))
        infinities = () if self.infinite else (math.inf, -math.inf)
        return (*beyond, *(end for end in ends if abs(end) < math.inf), *infinities, math.nan, "a", None, 1j)

    def inside(self) -> tuple:
        span = self.high - self.low
        low = self.low + 1e-3 * min(span, 1.0) * (self.open in ("low", "both"))
        high = self.high - 1e-3 * min(span, 1.0) * (self.open in ("high", "both"))
        middle = low + 0.5 * span if abs(low) < math.inf > span else low + 1.0
        return tuple(float(x) for x in dict.fromkeys((low, middle, high)) if abs(x) < math.inf) or (-1.5, 0.0, 1.5)


def _is_empty(value: Any) -> bool:
    return value.size == 0 if hasattr(value, "dtype") else isinstance(value, list | tuple) and not value


def _is_numeric(value: Any) -> bool:
    return isinstance(value, int | float | complex) or hasattr(value, "dtype")


@dataclasses.dataclass(frozen=True, repr=False)
class Count(Bound):
    """Integers from ``low`` to ``high``; neither a float nor a boolean nor a tracer is one.

    Attributes:
      low: smallest value.
      high: largest value; None is no limit.

    >>> print(Count(0), "or", Count(1, 3), Count().allows(True))
    an integer >= 0 or an integer from 1 to 3 False
    """

    low: int = 1
    high: int | None = None
    kind = int

    def allows(self, value: Any) -> bool:
        if isinstance(value, bool | np.bool_):
            return False
        try:
            number = operator.index(value)
        except TypeError:
            return False
        return self.low <= number and (self.high is None or number <= self.high)

    def __str__(self) -> str:
        return f"an integer >= {self.low}" if self.high is None else f"an integer from {self.low} to {self.high}"

    def outside(self) -> tuple:
        above = () if self.high is None else (self.high + 1,)
        return (self.low - 1, *above, self.low + 0.5, True, "3", None)

    def inside(self) -> tuple:
        return (self.low, self.low + 1 if self.high is None else self.high)


@dataclasses.dataclass(frozen=True, init=False, repr=False)
class OneOf(Bound):
    """One of a few values, as a ``Literal`` says.

    Attributes:
      values: the allowed values.

    >>> print(OneOf("t", "log_snr"))
    't' or 'log_snr'
    """

    values: tuple
    kind = str

    def __init__(self, *values: Any):
        object.__setattr__(self, "values", values)

    def allows(self, value: Any) -> bool:
        return any(type(value) is type(one) and value == one for one in self.values)

    def __str__(self) -> str:
        return " or ".join(map(repr, self.values)) if len(self.values) < 3 else f"one of {self.values}"

    def outside(self) -> tuple:
        return ("no such name", None)

    def inside(self) -> tuple:
        return self.values


@dataclasses.dataclass(frozen=True, repr=False)
class Each(Bound):
    """A tuple or list of at least ``least`` items, each within a bound.

    Attributes:
      item: bound of each item.
      least: smallest number of items.

    >>> print(Each(Count(), least=1))
    a sequence of at least 1, each an integer >= 1
    """

    item: Bound
    least: int = 0
    kind = tuple

    def allows(self, value: Any) -> bool:
        is_sequence = isinstance(value, tuple | list)
        passes = lambda item: (isinstance(item, Tracer) and isinstance(self.item, Between)) or self.item.allows(item)
        return is_sequence and len(value) >= self.least and all(map(passes, value))

    def __str__(self) -> str:
        return f"a sequence{f' of at least {self.least}' if self.least else ''}, each {self.item}"

    def outside(self) -> tuple:
        some = self.item.inside()[:1] * max(self.least - 1, 0)
        return (*([some] if self.least else []), *((*some, wrong) for wrong in self.item.outside()), "a", None)

    def inside(self) -> tuple:
        return (self.item.inside()[:1] * max(self.least, 1),)
