"""Building blocks of guidance rules: a formula on the predictions of several denoisers, each evaluated once.

A rule is a list of steps in the order of their evaluation: network calls, and formulas of the results of earlier steps.
A rule of other rules starts with their steps, and a step that several of them share (the conditional branch of a
rescaled guidance, the two branches of one batched call) is identified by object identity when the rule is built and
stored once. Build a rule from the denoisers themselves, therefore, and pass the rule through ``jit`` rather than its
parts: two arguments of a jitted function are two calls.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from scorekit.arguments import checked
from scorekit.checks import check_floating, check_levels, check_like
from scorekit.guidance.stateful import StatefulDenoiser, init_denoiser_state
from scorekit.guidance.stateful import predict as predict_with_state
from scorekit.numerics.meshes import repeat_rows, typed_as
from scorekit.numerics.scales import check_prediction
from scorekit.trees import as_pytree, batch_size, pytree_dataclass, static
from scorekit.typing import Array, Denoiser, Prediction, PyTree

_F = TypeVar("_F", bound=Callable[..., Denoiser])


class Traits(NamedTuple):
    """The properties of a guidance rule that its callers need; attached by :func:`guidance_rule`.

    Attributes:
      unguided: the branch that the rule reduces to without guidance, "cond" or "uncond".
      unguided_at_one: whether gamma = 1 gives exactly that branch, so that no other branch needs to be evaluated; of a
        wrapper, whether it leaves that branch unchanged.
      splits: whether the x0 and eps of the result no longer satisfy ``x_t = alpha x0 + sigma eps``. The solver must
        then read both, and a wrapper that recomputes the noise undoes the rule.

    >>> from scorekit.guidance import cfg_plus_plus
    >>> cfg_plus_plus.traits.splits
    True
    """

    unguided: str = "cond"
    unguided_at_one: bool = True
    splits: bool = False


@checked
def guidance_rule(
    *, unguided: Literal["cond", "uncond"] = "cond", unguided_at_one: bool = True, splits: bool = False
) -> Callable[[_F], _F]:
    """Marks a function as a guidance rule: attaches its :class:`Traits` as ``.traits`` and checks its arguments.

    A rule takes its parts by parameter name, so that generic code can build any rule from a dictionary of parts:

    - ``cond``, ``uncond``, ``weak``, ``unwanted``: denoisers; ``conds``: several of them;
    - ``denoiser``: the denoiser to wrap; a rule with this parameter is a *wrapper*, and ``unguided`` is the denoiser
      without guidance;
    - ``schedule``, ``log_likelihood``, ``guidance_scale``.

    All other parameters are hyper-parameters of the rule.

    Args:
      unguided: branch that the rule reduces to without guidance.
      unguided_at_one: whether gamma = 1 gives exactly that branch.
      splits: whether x0 and eps no longer make up ``x_t`` afterwards.

    Returns:
      A decorator; the bounds in the annotations of the rule are checked as by :func:`~scorekit.arguments.checked`.

    >>> @guidance_rule(unguided_at_one=False)
    ... def halfway(cond, uncond):
    ...     return rule(lambda predictions, x_t, t: predictions[0], (cond, uncond))
    >>> halfway.traits
    Traits(unguided='cond', unguided_at_one=False, splits=False)
    """

    def attach(function: _F) -> _F:
        rule: Any = checked(function)
        rule.traits = Traits(unguided, unguided_at_one, splits)
        return rule

    return attach


@pytree_dataclass
class _Batched:
    """A network and all its possible conditions; several are evaluated in one call on a longer batch."""

    network: Callable[[PyTree, Array, PyTree], Prediction]
    conditions: tuple[PyTree, ...]

    def evaluate(self, x_t, t, which: Sequence[int]) -> list[Prediction]:
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
        prediction = self.network(longer, times, jax.tree.map(rows, *self.conditions))
        check_like(f"x_t, {k} rows per example", Prediction(longer, longer), prediction=prediction)
        return [jax.tree.map(lambda x, i=i: x.reshape(n, k, *x.shape[1:])[:, i], prediction) for i in range(k)]


@pytree_dataclass
class _Branch:
    """The denoiser for one of the conditions of :func:`branches`."""

    call: _Batched
    index: int = static()

    def __call__(self, x_t, t) -> Prediction:
        return self.call.evaluate(x_t, t, (self.index,))[0]


@checked
def branches(cond: Callable[[PyTree, Array, PyTree], Prediction], *conditions: PyTree) -> tuple[Denoiser, ...]:
    """One denoiser per condition; a rule built from several of them evaluates all of them in one network call.

    The call has ``k B`` rows for the k branches that the rule uses: 1 evaluation of k times the size.

    Args:
      cond: the conditional denoiser, ``(x_t, t, conditions) -> Prediction``, row by row.
      conditions: trees of the same structure whose leaves are ``(B, ...)``, or broadcast to the shape of the leaves of
        the other conditions (a null token); scalars apply to every example.

    Returns:
      One denoiser ``(x_t, t) -> Prediction`` for each condition, in their order.

    >>> from scorekit.guidance import classifier_free
    >>> labelled = lambda x, t, c: (print("rows:", x.shape[0]), Prediction(c + 0 * x, x))[1]
    >>> cond, uncond = branches(labelled, jnp.ones(2), 0.0)
    >>> classifier_free(cond, uncond, 3.0)(jnp.ones(2), 0.5).x0
    rows: 4
    Array([3., 3.], dtype=float32)
    """
    call = _Batched(network=as_pytree(cond), conditions=conditions)
    return tuple(_Branch(call=call, index=i) for i in range(len(conditions)))


@pytree_dataclass
class _Formula:
    """A step that is ``function(predictions, x_t, t, *parameters)``, with a state if there is an ``init_state``."""

    parameters: tuple
    function: Callable = static()
    init_state: Callable | None = static()


@pytree_dataclass
class _Rule(StatefulDenoiser):
    """Steps in the order of their evaluation; the last one is the prediction. Built by :func:`rule`.

    Attributes:
      steps: a step is a denoiser, a :class:`_Batched` call or a :class:`_Formula`.
      inputs: for each step the predictions that it receives, as pairs of an earlier step and its branch.
    """

    steps: tuple
    inputs: tuple[tuple[tuple[int, int], ...], ...] = static()

    def init(self, x):
        states = []
        for step in self.steps:
            if isinstance(step, _Formula):
                states.append(step.init_state(x) if step.init_state else ())
            else:
                states.append(init_denoiser_state(step, x))
        return tuple(states)

    def predict(self, state, x_t, t):
        check_floating(x_t=x_t)
        check_levels(x_t, t=t)
        results, new_states = [], []  # results: of each step its predictions by branch
        for i, (step, inputs, carried) in enumerate(zip(self.steps, self.inputs, state, strict=True)):
            if isinstance(step, _Formula):
                predictions = tuple(results[k][branch] for k, branch in inputs)
                if step.init_state:
                    prediction, carried = step.function(carried, predictions, x_t, t, *step.parameters)
                else:
                    prediction = step.function(predictions, x_t, t, *step.parameters)
                results.append([prediction])
            elif isinstance(step, _Batched):
                used = sorted({branch for each in self.inputs for k, branch in each if k == i})
                results.append(dict(zip(used, step.evaluate(x_t, t, used), strict=True)))
            else:
                prediction, carried = predict_with_state(step, carried, x_t, t)
                check_prediction(x_t, prediction)
                results.append([prediction])
            new_states.append(carried)
        return results[-1][0], tuple(new_states)


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
    steps, inputs, results = [], [], []

    def place(step, sources) -> int:
        """The index of a step, which is appended unless it is there."""
        for k, other in enumerate(steps):
            if _same(step, other):
                return k
        steps.append(step)
        inputs.append(sources)
        return len(steps) - 1

    for denoiser in denoisers:
        if isinstance(denoiser, _Rule):
            places = []  # of the steps of this rule among all
            for step, sources in zip(denoiser.steps, denoiser.inputs, strict=True):
                places.append(place(step, tuple((places[k], branch) for k, branch in sources)))
            results.append((places[-1], 0))
        elif isinstance(denoiser, _Branch):
            results.append((place(denoiser.call, ()), denoiser.index))
        else:
            results.append((place(as_pytree(denoiser), ()), 0))
    parameters = tuple(as_pytree(value) if callable(value) else value for value in parameters)
    steps.append(_Formula(function=function, parameters=parameters, init_state=init_state))
    return _Rule(steps=tuple(steps), inputs=(*inputs, tuple(results)))


def _same(step, other) -> bool:
    """Whether two steps are one object, or one plain function that :func:`scorekit.trees.as_pytree` has wrapped."""
    functions = [isinstance(each, Partial) and not each.args and not each.keywords for each in (step, other)]
    return step is other or (all(functions) and step.func is other.func)
