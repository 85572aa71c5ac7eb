"""Kinds of arguments, the hostile values of each, and the verdict on an answer.

A row of these tables is a valid call. Its arrays are wrapped in what they are: :class:`Data`, :class:`Classes`,
:class:`Shaped` or :class:`Time`. Other arguments are passed as they are. :func:`attacks` makes the hostile values of an
array, :func:`wrong_answer` says what is wrong with the answer: right is an error that names the argument, and
NaN for NaN; another error is "obscure", and an answer as if nothing were wrong is "silent".

The second part of an argument lists the attacks that get an answer, with words where it is not the usual one:
"integer" (counts as float32), "shape" (any shape or any leading axes), "empty" (no value gives no value), "axes" and
"longer" (elementwise), "negative" and "too large" (any integers).
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Argument:
    """A valid value, and the attacks that the function documents an answer for: ``"integer; nan: is not read"``.

    ``alias``: what else an error may call it, if the function passes it on under another name; several names are
    separated by "; ". ``of``: what makes a function or a list of the value, if the argument is one.
    """

    value: Any
    answered: str = ""
    alias: str = ""
    of: Callable[[Any], Any] = lambda value: value

    @property
    def documented(self) -> set[str]:
        """The attacks that get an answer."""
        return {name for part in self.answered.split("; ") for name in part.partition(":")[0].split(", ")} - {""}

    def hostile(self) -> dict[str, Any]:
        """The hostile values by the name of the attack."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Data(Argument):
    """Floating arrays or a tree of them: another number of axes, integers, nothing, NaN."""

    def hostile(self):
        each = lambda change: jax.tree.map(change, self.value)
        return {
            "shape": each(lambda x: np.asarray(x)[..., None]),
            "integer": each(lambda x: np.ones(np.shape(x), np.int32)),
            "empty": each(lambda x: np.asarray(x)[:0] if np.ndim(x) else np.zeros(0, np.float32)),
            "nan": each(_with_nan),
        }


def _with_nan(x: Any) -> np.ndarray:
    x = np.array(x, np.complex64 if np.iscomplexobj(x) else np.float32)
    x.reshape(-1)[:1] = _NAN
    return x


@dataclasses.dataclass(frozen=True)
class Shaped(Argument):
    """A tree that goes with another argument: one without its last axis, one of another structure."""

    def hostile(self):
        return {
            "shape": jax.tree.map(lambda x: np.asarray(x)[..., None], self.value),
            "structure": {"other": self.value},
        }


@dataclasses.dataclass(frozen=True)
class Time(Argument):
    """Times in [0, 1], a scalar or ``(B,)``: outside, NaN, complex, one axis more, one example more."""

    def hostile(self):
        t = np.asarray(self.value, np.float32)
        wrong = {"below": t - 1.5, "above": t + 1.5, "nan": t + np.float32(_NAN), "axes": t[..., None]}
        wrong["complex"] = t.astype(np.complex64)
        return wrong if t.ndim == 0 else {**wrong, "longer": np.append(t, t[-1:])}


@dataclasses.dataclass(frozen=True)
class Classes(Argument):
    """Integer labels below ``num_classes``."""

    num_classes: int = 1

    def hostile(self):
        with_one = lambda x: np.where(np.arange(np.size(self.value)).reshape(np.shape(self.value)) == 0, x, self.value)
        return {
            "negative": with_one(-1),
            "too large": with_one(self.num_classes),
            "fraction": np.asarray(self.value, np.float32),
        }


class Call(NamedTuple):
    """A function and a valid call of it."""

    function: Callable | None
    arguments: dict[str, Any]
    then: Sequence[str] | None = ()
    answer: Callable[[Any], Any] = lambda found: found

    def __call__(self, **changed: Any) -> Any:
        """The answer with some arguments changed."""
        given = self.plain() | changed
        last = [given.pop(name) for name in self.then or ()]
        found = self.answer(self.function(**given))
        return found(*last) if last else found

    def plain(self) -> dict[str, Any]:
        """The arguments as the function takes them."""
        return {k: v.of(v.value) if isinstance(v, Argument) else v for k, v in self.arguments.items()}


def call(
    function: Callable | None = None, /, then: str | None = None, answer: Any = lambda found: found, **arguments: Any
) -> Call:
    """A row: of the public function whose name it has, or of ``function``; required arguments may be left to ``USUAL``.

    ``answer`` takes the part of what the function returns that counts. This is called with the arguments that are named
    in ``then``, by default those of the function in the annotation of the public function.

    >>> call(abs, x=Data(1.0)).plain()
    {'x': 1.0}
    """
    return Call(function, arguments, None if then is None else then.split(), answer)


class Attack(NamedTuple):
    """One hostile value for one argument."""

    argument: str
    name: str
    value: Any


def attacks(row: Call) -> Iterator[Attack]:
    """Every attack on every argument of a row."""
    for name, argument in row.arguments.items():
        if isinstance(argument, Argument):
            for attack, value in argument.hostile().items():
                yield Attack(name, attack, value)


def wrong_answer(row: Call, attack: Attack) -> str:
    """What is wrong with the answer to a hostile argument: nothing, "obscure" or "silent" with its words."""
    argument = row.arguments[attack.argument]
    try:
        found = row(**{attack.argument: argument.of(attack.value)})
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(found) if hasattr(leaf, "dtype") or np.isscalar(leaf)]
    except Exception as error:
        names = [attack.argument, *argument.alias.split("; ")]
        named = any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", str(error)) for name in names if name)
        clear = named and isinstance(error, ValueError | TypeError)
        return "" if clear else f"obscure: {type(error).__name__}: {error}".split("\n")[0][:200]
    stays_visible = attack.name == "nan" and any(_broken(leaf) for leaf in leaves)
    return "" if stays_visible else "silent: " + str(found).replace("\n", " ")[:120]


def _broken(leaf: np.ndarray) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.all(np.isfinite(leaf))
