"""What all rules are made of: a formula on the predictions of several denoisers, each network call made once.

A rule is a tree: calls at its ends, formulas above them. Rules that are nested merge their trees, and a call that
several of them need (the conditional branch of a rescaled guidance, the two branches of one batched call) is found by
identity when the rule is built and stored once. Build a rule from the denoisers themselves, therefore, and pass the
rule through ``jit``, not its parts: two arguments of a jitted function are two calls.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.guidance import stateful as memories
from scorekit.guidance.stateful import StatefulDenoiser
from scorekit.schedules.numerics import as_time
from scorekit.trees import as_pytree, batch_size, check, pytree_dataclass, static
from scorekit.typing import Array, Denoiser, Number, Prediction, PyTree

Scale: TypeAlias = Number | Callable[[Array], Array]
"""A guidance scale: a number, one per example ``(B,)``, or a function of the time."""


@pytree_dataclass
class Conditions:
    """A conditional network and the conditions it may be asked for; several of them are one call on a longer batch."""

    conditional: Callable[[PyTree, Array, PyTree], Prediction]
    values: tuple[PyTree, ...]

    def evaluate(self, x_t, t, which: tuple[int, ...]) -> list[Prediction]:
        """The predictions for some of the conditions. Rows that belong to one example are neighbours, so that a batch
        that is split over devices stays where it is."""
        n, k = batch_size(x_t), len(which)

        def rows(*values):
            shape = jnp.broadcast_shapes(*(jnp.shape(v) for v in values)) or (n,)
            if shape[0] != n:
                raise ValueError(f"conditions must have a leading axis of {n}, one for each example, got shape {shape}")
            chosen = [jnp.broadcast_to(values[i], shape).astype(jnp.result_type(*values)) for i in which]
            return jnp.stack(chosen, axis=1).reshape(n * k, *shape[1:])

        longer = jax.tree.map(lambda x: jnp.repeat(x, k, axis=0), x_t)
        times = jnp.repeat(t, k) if jnp.ndim(t) else t
        prediction = self.conditional(longer, times, jax.tree.map(rows, *self.values))
        return [jax.tree.map(lambda x, i=i: x.reshape(n, k, *x.shape[1:])[:, i], prediction) for i in range(k)]


@pytree_dataclass
class Branch:
    """The denoiser for one of the conditions of :func:`branches`."""

    call: Conditions
    index: int = static()

    def __call__(self, x_t, t) -> Prediction:
        return self.call.evaluate(x_t, t, (self.index,))[0]


def branches(conditional: Callable[[PyTree, Array, PyTree], Prediction], *conditions: PyTree) -> tuple[Denoiser, ...]:
    """One denoiser for each condition; a rule that is built from several of them makes one network call for all.

    The call has ``k B`` rows for the k branches that the rule uses: 1 evaluation of k times the size.

    Args:
      conditional: ``(x_t, t, condition) -> Prediction``, row by row.
      conditions: trees of the same structure whose leaves are ``(B, ...)``, or broadcast to the shape of those of the
        other conditions (a null token); bare numbers hold for every example.

    Raises:
      ValueError: when called, for conditions that are not one for each example.

    >>> from scorekit.guidance import classifier_free
    >>> conditional = lambda x, t, c: (print("rows:", x.shape[0]), Prediction(c + 0 * x, x))[1]
    >>> cond, uncond = branches(conditional, jnp.ones(2), 0.0)
    >>> classifier_free(cond, uncond, 3.0)(jnp.ones(2), 0.5).x0
    rows: 4
    Array([3., 3.], dtype=float32)
    """
    call = Conditions(conditional=as_pytree(conditional), values=conditions)
    return tuple(Branch(call=call, index=i) for i in range(len(conditions)))


@pytree_dataclass
class _Input:
    """Where a formula finds a prediction: a call, and a branch of it."""

    call: int = static()
    branch: int = static(default=0)


@pytree_dataclass
class _Formula:
    function: Callable = static()
    inputs: tuple = ()
    numbers: tuple = ()
    start: Callable | None = static(default=None)


@pytree_dataclass
class Rule(StatefulDenoiser):
    """A tree of formulas over the predictions of its calls; built by :func:`rule`."""

    calls: tuple
    root: Any

    def init(self, x):
        return tuple(memories.init_denoiser_state(call, x) for call in self.calls), _start(self.root, x)

    def predict(self, memory, x_t, t):
        of_calls, of_formulas = memory
        predictions, kept = [], []
        for i, (call, carried) in enumerate(zip(self.calls, of_calls, strict=True)):
            if isinstance(call, Conditions):
                which = tuple(sorted({leaf.branch for leaf in _inputs(self.root) if leaf.call == i}))
                predictions.append(dict(zip(which, call.evaluate(x_t, t, which), strict=True)))
            else:
                prediction, carried = memories.predict(call, carried, x_t, t)
                predictions.append({0: prediction})
            kept.append(carried)
        prediction, of_formulas = _evaluate(self.root, of_formulas, predictions, x_t, t)
        return prediction, (tuple(kept), of_formulas)


def rule(function: Callable, denoisers: Sequence[Denoiser], *numbers: Any, start: Callable | None = None) -> Rule:
    """The denoiser ``function(predictions, x_t, t, *numbers)``; how every rule of this package, or yours, is built.

    With ``start``, which makes the memory from a state, it is ``function(memory, predictions, x_t, t, *numbers) ->
    (Prediction, memory)``.

    Args:
      function: a module-level function; it is part of the structure, so that another one recompiles.
      denoisers: whose predictions it is given, in this order.
      numbers: what else it is given: numbers, schedules, functions, which are leaves.
      start: ``x -> memory``, a module-level function, for a rule with memory.

    >>> from scorekit.guidance import classifier_free
    >>> def halfway(predictions, x_t, t, weight):
    ...     one, other = predictions
    ...     return jax.tree.map(lambda a, b: a + weight * (b - a), one, other)
    >>> one, other = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 3.0))
    >>> rule(halfway, (one, other), 0.5)(jnp.ones(1), 0.5).x0
    Array([2.], dtype=float32)
    """
    calls, inputs = [], []
    for denoiser in denoisers:
        own, root = _opened(denoiser)
        places = [_place(calls, call) for call in own]
        inputs.append(_renumbered(root, places))
    numbers = tuple(as_pytree(number) if callable(number) else number for number in numbers)
    root = _Formula(function=function, inputs=tuple(inputs), numbers=numbers, start=start)
    return Rule(calls=tuple(calls), root=root)


def number_at(number: Scale, t: Array) -> Array:
    """The value at time t of a hyper-parameter that may be a function of the time, in at least float32.

    >>> number_at(lambda t: 1.0 + t, 0.5)
    Array(1.5, dtype=float32)
    """
    return as_time(number(as_time(t)) if callable(number) else number)


def check_number(rule: Callable[[Any], Any], allowed: str, **named: Any) -> None:
    """:func:`scorekit.trees.check` for numbers that may be functions of the time, which are passed over.

    >>> check_number(lambda x: x > 0, "> 0", guidance_scale=lambda t: -t)
    """
    check(rule, allowed, **{name: value for name, value in named.items() if not callable(value)})


def _opened(denoiser):
    """Any denoiser as calls and a tree over them."""
    if isinstance(denoiser, Rule):
        return denoiser.calls, denoiser.root
    if isinstance(denoiser, Branch):
        return (denoiser.call,), _Input(call=0, branch=denoiser.index)
    return (as_pytree(denoiser),), _Input(call=0)


def _place(calls: list, call) -> int:
    """The index of this very call, which is appended if it is not there."""
    for i, other in enumerate(calls):
        if other is call or (_wraps(other) and _wraps(call) and other.func is call.func):
            return i
    calls.append(call)
    return len(calls) - 1


def _wraps(call) -> bool:
    """Whether ``call`` is a plain function that :func:`scorekit.trees.as_pytree` has wrapped."""
    return isinstance(call, Partial) and not call.args and not call.keywords


def _renumbered(node, places):
    if isinstance(node, _Input):
        return _Input(call=places[node.call], branch=node.branch)
    return dataclasses.replace(node, inputs=tuple(_renumbered(child, places) for child in node.inputs))


def _inputs(node):
    if isinstance(node, _Input):
        return [node]
    return [leaf for child in node.inputs for leaf in _inputs(child)]


def _start(node, x):
    if isinstance(node, _Input):
        return ()
    return node.start(x) if node.start else (), tuple(_start(child, x) for child in node.inputs)


def _evaluate(node, memory, predictions, x_t, t):
    if isinstance(node, _Input):
        return predictions[node.call][node.branch], memory
    own, below = memory
    pairs = [_evaluate(c, m, predictions, x_t, t) for c, m in zip(node.inputs, below, strict=True)]
    inputs, below = zip(*pairs, strict=True)
    if node.start is None:
        return node.function(inputs, x_t, t, *node.numbers), (own, below)
    prediction, own = node.function(own, inputs, x_t, t, *node.numbers)
    return prediction, (own, below)
