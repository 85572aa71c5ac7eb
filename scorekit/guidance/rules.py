"""Building blocks of guidance rules: a formula on the predictions of several denoisers, each evaluated once.

A rule is a tree with network calls at its leaves and formulas above them. Nested rules merge their trees, and a call
that several of them share (the conditional branch of a rescaled guidance, the two branches of one batched call) is
identified by object identity when the rule is built and stored once. Build a rule from the denoisers themselves,
therefore, and pass the rule through ``jit`` rather than its parts: two arguments of a jitted function are two calls.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit._meshes import repeat_rows, typed_as
from scorekit._scales import check_prediction
from scorekit.arguments import checked
from scorekit.checks import check_floating, check_levels, check_like
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state
from scorekit.guidance.stateful import predict as predict_with_state
from scorekit.trees import as_pytree, batch_size, pytree_dataclass, static
from scorekit.typing import Array, Denoiser, Prediction, PyTree

_F = TypeVar("_F", bound=Callable[..., Denoiser])


class Traits(NamedTuple):
    """The properties of a guidance rule that its callers need; attached by :func:`guidance_rule`.

    Attributes:
      plain: the branch that the rule reduces to without guidance, "cond" or "uncond".
      plain_at_one: whether gamma = 1 gives exactly that branch, so that no other branch needs to be evaluated; of a
        wrapper, whether it leaves that branch unchanged.
      splits: whether the x0 and eps of the result no longer satisfy ``x_t = alpha x0 + sigma eps``. The solver must
        then read both, and a wrapper that recomputes the noise undoes the rule.

    >>> from scorekit.guidance import cfg_plus_plus
    >>> cfg_plus_plus.traits.splits
    True
    """

    plain: str = "cond"
    plain_at_one: bool = True
    splits: bool = False


@checked
def guidance_rule(
    *, plain: Literal["cond", "uncond"] = "cond", plain_at_one: bool = True, splits: bool = False
) -> Callable[[_F], _F]:
    """Marks a function as a guidance rule: attaches its :class:`Traits` as ``.traits`` and checks its arguments.

    A rule takes its parts by parameter name, so that generic code can build any rule from a dictionary of parts:

    - ``cond``, ``uncond``, ``weak``, ``unwanted``: denoisers; ``conditions``: several of them;
    - ``denoiser``: the denoiser to wrap; a rule with this parameter is a *wrapper*, and ``plain`` is the denoiser
      without guidance;
    - ``schedule``, ``log_likelihood``, ``guidance_scale``.

    All other parameters are hyper-parameters of the rule.

    Args:
      plain: branch that the rule reduces to without guidance.
      plain_at_one: whether gamma = 1 gives exactly that branch.
      splits: whether x0 and eps no longer make up ``x_t`` afterwards.

    Returns:
      A decorator; the bounds in the annotations of the rule are checked as by :func:`~scorekit.arguments.checked`.

    >>> @guidance_rule(plain_at_one=False)
    ... def halfway(cond, uncond):
    ...     return rule(lambda predictions, x_t, t: predictions[0], (cond, uncond))
    >>> halfway.traits
    Traits(plain='cond', plain_at_one=False, splits=False)
    """

    def attach(function: _F) -> _F:
        rule: Any = checked(function)
        rule.traits = Traits(plain, plain_at_one, splits)
        return rule

    return attach


@pytree_dataclass
class _Conditions:
    """A conditional network and its possible conditions; several are evaluated in one call on a longer batch."""

    conditional: Callable[[PyTree, Array, PyTree], Prediction]
    values: tuple[PyTree, ...]

    def evaluate(self, x_t, t, which: tuple[int, ...]) -> list[Prediction]:
        """The predictions for some of the conditions. The rows of one example are adjacent, so that a batch sharded
        over devices needs no communication."""
        n, k = batch_size(x_t), len(which)

        def rows(*values):
            shape = jnp.broadcast_shapes(*(jnp.shape(v) for v in values)) or (n,)
            if shape[0] != n:
                raise ValueError(f"conditions must have a leading axis of {n}, one for each example, got shape {shape}")
            longest = max(values, key=jnp.ndim)
            chosen = [jnp.broadcast_to(values[i], shape).astype(jnp.result_type(*values)) for i in which]
            return jnp.stack([typed_as(each, longest) for each in chosen], axis=1).reshape(n * k, *shape[1:])

        check_levels(x_t, t=t)
        longer = jax.tree.map(lambda x: repeat_rows(x, k), x_t)
        times = repeat_rows(t, k) if jnp.ndim(t) else t
        prediction = self.conditional(longer, times, jax.tree.map(rows, *self.values))
        check_like(f"x_t, {k} rows per example", Prediction(longer, longer), prediction=prediction)
        return [jax.tree.map(lambda x, i=i: x.reshape(n, k, *x.shape[1:])[:, i], prediction) for i in range(k)]


@pytree_dataclass
class _Branch:
    """The denoiser for one of the conditions of :func:`branches`."""

    call: _Conditions
    index: int = static()

    def __call__(self, x_t, t) -> Prediction:
        return self.call.evaluate(x_t, t, (self.index,))[0]


@checked
def branches(conditional: Callable[[PyTree, Array, PyTree], Prediction], *conditions: PyTree) -> tuple[Denoiser, ...]:
    """One denoiser per condition; a rule built from several of them evaluates all of them in one network call.

    The call has ``k B`` rows for the k branches that the rule uses: 1 evaluation of k times the size.

    Args:
      conditional: ``(x_t, t, condition) -> Prediction``, row by row.
      conditions: trees of the same structure whose leaves are ``(B, ...)``, or broadcast to the shape of the leaves of
        the other conditions (a null token); scalars apply to every example.

    Returns:
      One denoiser ``(x_t, t) -> Prediction`` for each condition, in their order.

    >>> from scorekit.guidance import classifier_free
    >>> conditional = lambda x, t, c: (print("rows:", x.shape[0]), Prediction(c + 0 * x, x))[1]
    >>> cond, uncond = branches(conditional, jnp.ones(2), 0.0)
    >>> classifier_free(cond, uncond, 3.0)(jnp.ones(2), 0.5).x0
    rows: 4
    Array([3., 3.], dtype=float32)
    """
    call = _Conditions(conditional=as_pytree(conditional), values=conditions)
    return tuple(_Branch(call=call, index=i) for i in range(len(conditions)))


@pytree_dataclass
class _Input:
    """A leaf of the tree: the index of a call and the index of one of its branches."""

    call: int = static()
    branch: int = static(default=0)


@pytree_dataclass
class _Formula:
    function: Callable = static()
    inputs: tuple = ()
    parameters: tuple = ()
    init_state: Callable | None = static(default=None)


@pytree_dataclass
class _Rule(StatefulDenoiser):
    """A tree of formulas over the predictions of its calls; built by :func:`rule`."""

    calls: tuple
    root: Any

    def init(self, x):
        return tuple(init_denoiser_state(call, x) for call in self.calls), _init_states(self.root, x)

    def predict(self, state, x_t, t):
        check_floating(x_t=x_t)
        check_levels(x_t, t=t)
        of_calls, of_formulas = state
        predictions, new_states = [], []
        for i, (call, carried) in enumerate(zip(self.calls, of_calls, strict=True)):
            if isinstance(call, _Conditions):
                which = tuple(sorted({leaf.branch for leaf in _inputs(self.root) if leaf.call == i}))
                predictions.append(dict(zip(which, call.evaluate(x_t, t, which), strict=True)))
            else:
                prediction, carried = predict_with_state(call, carried, x_t, t)
                check_prediction(x_t, prediction)
                predictions.append({0: prediction})
            new_states.append(carried)
        prediction, of_formulas = _evaluate(self.root, of_formulas, predictions, x_t, t)
        return prediction, (tuple(new_states), of_formulas)


@checked
def rule(
    function: Callable, denoisers: Sequence[Denoiser], *parameters: Any, init_state: Callable | None = None
) -> StatefulDenoiser:
    """The denoiser ``function(predictions, x_t, t, *parameters)``: how every rule, of the library or yours, is built.

    Without ``init_state``, and on stateless denoisers, it may be called as ``(x_t, t) -> Prediction``. With
    ``init_state`` the rule is stateful and its formula is ``function(state, predictions, x_t, t, *parameters) ->
    (Prediction, state)``.

    Args:
      function: a module-level function; it is part of the tree structure, so that another function recompiles.
      denoisers: the denoisers whose predictions the formula receives, in this order.
      parameters: further arguments of the formula (scalars, arrays, schedules, functions); they are leaves.
      init_state: ``x -> state``, a module-level function that makes the initial state of a stateful rule.

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
        own, root = _as_tree(denoiser)
        indices = [_index_of(calls, call) for call in own]
        inputs.append(_reindex(root, indices))
    parameters = tuple(as_pytree(value) if callable(value) else value for value in parameters)
    root = _Formula(function=function, inputs=tuple(inputs), parameters=parameters, init_state=init_state)
    return _Rule(calls=tuple(calls), root=root)


def _as_tree(denoiser):
    """Any denoiser as a list of calls and a tree over them."""
    if isinstance(denoiser, _Rule):
        return denoiser.calls, denoiser.root
    if isinstance(denoiser, _Branch):
        return (denoiser.call,), _Input(call=0, branch=denoiser.index)
    return (as_pytree(denoiser),), _Input(call=0)


def _index_of(calls: list, call) -> int:
    """The index of this call object, which is appended to ``calls`` if it is missing."""
    for i, other in enumerate(calls):
        if other is call or (_wraps(other) and _wraps(call) and other.func is call.func):
            return i
    calls.append(call)
    return len(calls) - 1


def _wraps(call) -> bool:
    """Whether ``call`` is a plain function that :func:`scorekit.trees.as_pytree` has wrapped."""
    return isinstance(call, Partial) and not call.args and not call.keywords


def _reindex(node, indices):
    if isinstance(node, _Input):
        return _Input(call=indices[node.call], branch=node.branch)
    return dataclasses.replace(node, inputs=tuple(_reindex(child, indices) for child in node.inputs))


def _inputs(node):
    if isinstance(node, _Input):
        return [node]
    return [leaf for child in node.inputs for leaf in _inputs(child)]


def _init_states(node, x):
    if isinstance(node, _Input):
        return ()
    return node.init_state(x) if node.init_state else (), tuple(_init_states(child, x) for child in node.inputs)


def _evaluate(node, state, predictions, x_t, t):
    if isinstance(node, _Input):
        return predictions[node.call][node.branch], state
    own, below = state
    pairs = [_evaluate(c, s, predictions, x_t, t) for c, s in zip(node.inputs, below, strict=True)]
    inputs, below = zip(*pairs, strict=True)
    if node.init_state is None:
        return node.function(inputs, x_t, t, *node.parameters), (own, below)
    prediction, own = node.function(own, inputs, x_t, t, *node.parameters)
    return prediction, (own, below)
