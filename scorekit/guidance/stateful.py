"""Memory: what a rule carries from one evaluation to the next, handed on as a value and never hidden.

A rule without memory is a plain function ``(x_t, t) -> Prediction``. One with memory (a momentum) starts it with
``memory = rule.init(x)`` and takes ``prediction, memory = rule.predict(memory, x_t, t)``; rules hand on the memory of
what they wrap. :func:`scorekit.samplers.sample` keeps it in the carry of its scan, as :func:`with_state` does for one
step.
"""

from collections.abc import Callable
from typing import Any

import jax

from scorekit.typing import Array, Denoiser, Prediction, PyTree


class StatefulDenoiser:
    """A denoiser whose prediction depends on earlier evaluations; subclass it, as a pytree, and write ``init`` and
    ``predict``. If ``init`` gives nothing to carry (a rule around plain denoisers) it is a plain denoiser too.

    >>> from scorekit.trees import pytree_dataclass
    >>> @pytree_dataclass
    ... class Running(StatefulDenoiser):  # x0 is the mean of the last two states
    ...     def init(self, x):
    ...         return x
    ...     def predict(self, memory, x_t, t):
    ...         return Prediction(0.5 * (x_t + memory), x_t), x_t
    >>> Running().predict(1.0, 3.0, 0.5)[0].x0
    2.0
    """

    def init(self, x: PyTree) -> PyTree:
        """The memory before the first evaluation at a state like ``x``; its arrays have a leading batch axis."""
        raise NotImplementedError

    def predict(self, memory: PyTree, x_t: PyTree, t: Array) -> tuple[Prediction, PyTree]:
        """The prediction, and the memory for the next evaluation."""
        raise NotImplementedError

    def __call__(self, x_t: PyTree, t: Array) -> Prediction:
        memory = self.init(x_t)
        if jax.tree.leaves(memory):
            raise ValueError(
                "denoiser must be stateless here, got one that carries state from step to step (momentum), as only "
                "scorekit.samplers.sample does: set momentum=None, or carry it with scorekit.guidance.with_state"
            )
        return self.predict(memory, x_t, t)[0]


def init_denoiser_state(denoiser: Denoiser, x: PyTree) -> PyTree:
    """The memory of any denoiser before its first evaluation; ``()`` for a plain one.

    >>> init_denoiser_state(lambda x, t: Prediction(x, x), 1.0)
    ()
    """
    return denoiser.init(x) if isinstance(denoiser, StatefulDenoiser) else ()


def predict(denoiser: Denoiser, memory: PyTree, x_t: PyTree, t: Array) -> tuple[Prediction, PyTree]:
    """``(prediction, memory)`` of any denoiser.

    >>> predict(lambda x, t: Prediction(x, x), (), 1.0, 0.5)
    (Prediction(x0=1.0, eps=1.0), ())
    """
    if isinstance(denoiser, StatefulDenoiser):
        return denoiser.predict(memory, x_t, t)
    return denoiser(x_t, t), memory


def with_state(denoiser: Denoiser, memory: PyTree, use: Callable[[Denoiser], Any]) -> tuple[Any, PyTree]:
    """``(use(d), memory)`` where ``d`` is a plain denoiser that hands the memory on from each evaluation to the next.

    This is how :func:`scorekit.samplers.sample` takes a step. By hand::

        state, memory = solver.init(x), init_denoiser_state(denoiser, x)
        for t, s in zip(ts[:-1], ts[1:]):
            step = lambda d: solver.step(key, state, x, t, s, d, schedule)
            (x, state), memory = with_state(denoiser, memory, step)

    Args:
      denoiser: any denoiser, with or without memory.
      memory: what it carries so far.
      use: a function of a plain denoiser; inside it, no evaluation may stand in a ``jit``, a scan or a ``cond`` of its
        own.

    >>> from scorekit.guidance import apg
    >>> from scorekit.schedules import rectified_flow
    >>> import jax.numpy as jnp
    >>> cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (1.0, 0.0))
    >>> rule, x = apg(cond, uncond, rectified_flow(), 2.0, parallel=1.0, momentum=0.5), jnp.ones((1, 1))
    >>> twice = lambda d: (d(x, 0.5).x0.item(), d(x, 0.4).x0.item())
    >>> with_state(rule, init_denoiser_state(rule, x), twice)[0]
    (2.0, 2.5)
    """
    kept = memory

    def plain(x_t, t):
        nonlocal kept
        prediction, kept = predict(denoiser, kept, x_t, t)
        return prediction

    result = use(plain)
    return result, kept
