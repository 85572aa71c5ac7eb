"""The meanings of arguments, from the ``Args:`` and ``Attributes:`` of docstrings.

What a family of functions or classes shares stands once, in the docstring of their module, its package, or a base
class; the docstring of the function or class itself comes first.
"""

import functools
import inspect
import itertools
import re
import sys
from collections.abc import Callable
from typing import Any

_SECTION = re.compile(r"^(?:Args|Attributes):\n((?: .*\n|\n(?= ))*)", re.MULTILINE)
_ENTRY = re.compile(r"^  ([\w*, ]+): (.*(?:\n   .*)*)", re.MULTILINE)


def described(text: str | None) -> dict[str, str]:
    """The meanings in a docstring by argument, each on one line.

    >>> described("A line.\\n\\nArgs:\\n  slope: steepness\\n    of it.\\n  x, y: a point.\\n\\nReturns:\\n  z: none.")
    {'slope': 'steepness of it.', 'x': 'a point.', 'y': 'a point.'}
    """
    meanings = {}
    for section in _SECTION.findall(inspect.cleandoc(text or "") + "\n"):
        for names, meaning in _ENTRY.findall(section):
            meanings |= dict.fromkeys(re.findall(r"\w+", names), " ".join(meaning.split()))
    return meanings


def _shared(module: str) -> dict[str, str]:
    """The meanings in the docstrings of a module and of its packages; the innermost counts."""
    meanings = {}
    for name in itertools.accumulate(module.split("."), "{}.{}".format):
        meanings |= described(sys.modules[name].__doc__)
    return meanings


def meanings_of(factory: Callable | Any) -> dict[str, str]:
    """The meanings of the arguments of a function, class or choice, as far as docstrings tell.

    >>> from scorekit.schedules import EDM
    >>> meanings_of(functools.partial(EDM, rho=1.0))["rho"]
    'exponent; 1 gives a linear sigma, larger values spend more time at low noise.'
    """
    if isinstance(factory, functools.partial):
        return meanings_of(factory.func)
    meanings = {}
    for one in reversed(inspect.getmro(factory)) if inspect.isclass(factory) else [factory]:
        meanings |= {**_shared(one.__module__), **described(one.__doc__)}
    return {**meanings, **getattr(factory, "meanings", {})}
