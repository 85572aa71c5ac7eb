"""Stateful denoisers: explicit state that a rule carries from one evaluation to the next.

A stateless rule is a plain function ``(x_t, t) -> Prediction``. A stateful one (a momentum) is initialised by
``state = rule.init(x)`` and evaluated by ``prediction, state = rule.predict(state, x_t, t)``; wrappers carry the state
of the denoiser that they wrap. :func:`scorekit.samplers.sample` keeps it in the carry of its scan; :func:`with_state`
does the same for a single step.
"""

from collections.abc import Callable
from typing import Any

import jax

from scorekit.checks import check_prediction
from scorekit.typing import Array, Denoiser, Prediction, PyTree


class StatefulDenoiser:
    """Base class of denoisers whose prediction depends on earlier evaluations.

    A subclass is a pytree that implements ``init`` and ``predict``. If the state has no leaves (a rule around stateless
    denoisers), it may be called like any other denoiser.

    >>> from scorekit.trees import pytree_dataclass
    >>> @pytree_dataclass
    ... class Running(StatefulDenoiser):  # x0 is the mean of the last two states
    ...     def init(self, x):
    ...         return x
    ...     def predict(self, state, x_t, t):
    ...         return Prediction(0.5 * (x_t + state), x_t), x_t
    >>> Running().predict(1.0, 3.0, 0.5)[0].x0
    2.0
    """

    def init(self, x: PyTree) -> PyTree:
        """The state before the first evaluation, for data like ``x``; its arrays have a leading batch axis."""
        raise NotImplementedError

    def predict(self, state: PyTree, x_t: PyTree, t: Array) -> tuple[Prediction, PyTree]:
        """The prediction and the state for the next evaluation."""
        raise NotImplementedError

    def __call__(self, x_t: PyTree, t: Array) -> Prediction:
        state = self.init(x_t)
        if jax.tree.leaves(state):
            raise ValueError(
                "denoiser must be stateless here, got one that carries state from step to step (momentum), which only "
                "scorekit.samplers.sample supports: set momentum=None, or carry it with scorekit.guidance.with_state"
            )
        return self.predict(state, x_t, t)[0]


def init_denoiser_state(denoiser: Denoiser, x: PyTree) -> PyTree:
    """The initial state of any denoiser, before the first evaluation; ``()`` for a stateless one.

    Args:
      denoiser: any denoiser, stateful or not.
      x: data of the shapes that the denoiser will see, leaves ``(B, ...)``.

    >>> init_denoiser_state(lambda x, t: Prediction(x, x), 1.0)
    ()
    """
    return denoiser.init(x) if isinstance(denoiser, StatefulDenoiser) else ()


def predict(denoiser: Denoiser, state: PyTree, x_t: PyTree, *times: Array) -> tuple[Prediction, PyTree]:
    """Evaluates any denoiser (or flow map, at two times), stateful or not: ``(prediction, state)``.

    Args:
      denoiser: any denoiser, stateful or not.
      state: the state of the denoiser, from :func:`init_denoiser_state` or the last evaluation.
      x_t: the noisy state, leaves ``(B, ...)``.
      *times: the time t of a denoiser, or t and s of a flow map; scalars or ``(B,)``.

    >>> predict(lambda x, t: Prediction(x, x), (), 1.0, 0.5)
    (Prediction(x0=1.0, eps=1.0), ())
    """
    if isinstance(denoiser, StatefulDenoiser):
        return denoiser.predict(state, x_t, *times)
    return check_prediction(denoiser(x_t, *times)), state


def with_state(denoiser: Denoiser, state: PyTree, function: Callable[[Denoiser], Any]) -> tuple[Any, PyTree]:
    """``(function(d), state)`` where ``d`` is a plain denoiser that updates the state at each evaluation.

    This is how :func:`scorekit.samplers.sample` takes a step. As an explicit loop::

        solver_state, state = solver.init(x), init_denoiser_state(denoiser, x)
        rows = solver.plan(schedule, ts)
        for i in range(len(ts) - 1):
            row = jax.tree.map(lambda leaf: leaf[i], rows)
            step = lambda d: solver.step(solver_state, x, row, d, key=key)
            (x, solver_state), state = with_state(denoiser, state, step)

    Args:
      denoiser: any denoiser, stateful or not.
      state: the state of the denoiser, from :func:`init_denoiser_state` or the last evaluation.
      function: a function of a plain denoiser; it must not evaluate the denoiser inside a ``jit``, a scan or a
        ``cond`` of its own.

    >>> from scorekit.guidance import apg
    >>> from scorekit.schedules import RectifiedFlow
    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.0))
    >>> rule, x = apg(cond, uncond, RectifiedFlow(), 2.0, parallel=1.0, momentum=0.5), jnp.ones((1, 1))
    >>> twice = lambda d: (d(x, 0.5).x0.item(), d(x, 0.4).x0.item())
    >>> with_state(rule, init_denoiser_state(rule, x), twice)[0]
    (2.0, 2.5)
    """
    current = state

    def plain(x_t, *times):
        nonlocal current
        prediction, current = predict(denoiser, current, x_t, *times)
        return prediction

    result = function(plain)
    return result, current
