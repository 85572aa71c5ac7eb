"""The conventions and contracts that all modules share.

``x_t = alpha(t) x0 + sigma(t) eps`` with t in [0, 1]; t = 0 is clean data and t = 1 is noise. A step goes from
``t`` to ``s < t``. ``log_snr(t) = log(alpha^2 / sigma^2)`` decreases strictly in t.

Shapes: ``x`` is any pytree of floating arrays whose leaves have a leading batch axis ``B`` (or none, under
``vmap``); ``t`` is a scalar or a batch ``(B,)``.
"""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, Union, runtime_checkable

import jax

__all__ = [
    "Array",
    "ArrayLike",
    "Denoiser",
    "FlowMap",
    "Key",
    "LogDet",
    "Named",
    "Network",
    "Number",
    "Numbers",
    "Prediction",
    "PyTree",
    "Schedule",
    "Solver",
    "Weighting",
]

if TYPE_CHECKING:
    from typing import Annotated as Named
else:

    @dataclasses.dataclass(frozen=True, repr=False)
    class Named:
        """``Named[type, "Name", ...]`` is ``Annotated`` to a type checker, and prints as its name.

        >>> from typing import TypeVar
        >>> Row = Named[list[TypeVar("T")], "Row"]
        >>> Row[int] | None
        typing.Optional[Row[int]]
        """

        __origin__: Any
        __metadata__: tuple

        def __class_getitem__(cls, parts):
            return cls(parts[0], parts[1:])

        def __getitem__(self, base):
            name, *rest = self.__metadata__
            return Named(base, (f"{name}[{inspect.formatannotation(base)}]", *rest))

        def __or__(self, other):
            return Union[self, other]  # noqa: UP007

        __ror__ = __or__

        def __repr__(self):
            return self.__metadata__[0]


Array: TypeAlias = Named[jax.Array, "Array"]
"""A JAX array, concrete or traced."""
ArrayLike: TypeAlias = Named[jax.typing.ArrayLike, "ArrayLike"]
"""A JAX or NumPy array, or a number: an argument of ``jnp.asarray``."""
Numbers: TypeAlias = Named[ArrayLike | Sequence[float], "Numbers"]
"""An array, a number, or a sequence of numbers."""
Number: TypeAlias = Named[float | jax.Array, "Number"]
"""A hyper-parameter: a number or an array, concrete or traced."""
PyTree: TypeAlias = Named[Any, "PyTree"]
"""Nested containers of arrays, such as one array."""
Key: TypeAlias = Named[jax.Array, "Key"]
"""A typed PRNG key, ``jax.random.key(seed)``."""


class Prediction(NamedTuple):
    """``x_t`` split into its signal and its noise, ``x_t = alpha x0 + sigma eps``.

    Attributes:
      x0: the estimate of the clean data, shaped like ``x_t``.
      eps: the estimate of the noise, shaped like ``x_t``.

    >>> x0, eps = Prediction(x0=1.0, eps=-1.0)
    >>> 0.8 * x0 + 0.6 * eps  # the x_t that they make up at alpha = 0.8
    0.20000000000000007
    """

    x0: PyTree
    eps: PyTree


Network: TypeAlias = Named[Callable[[PyTree, Array], PyTree], "Network"]
"""``(x_t, t) -> output``: a neural network; the meaning of the output is the *target*."""

Denoiser: TypeAlias = Named[Callable[[PyTree, Array], Prediction], "Denoiser"]
"""``(x_t, t) -> Prediction``: the argument of solvers, guidance and likelihoods."""

FlowMap: TypeAlias = Named[Callable[..., Prediction], "FlowMap"]
"""``(x_t, t, s=t) -> Prediction``: the pair ``(x0, eps)`` through which the path of the probability-flow ODE from
``x_t`` ends in ``alpha_s x0 + sigma_s eps`` at s; with two arguments, a denoiser."""

LogDet: TypeAlias = Named[Callable[[PyTree, Array, Array], Array], "LogDet"]
"""``(x_t, t, s) -> log |det dX/dx_t|`` of a flow map, in nats ``(B,)``."""

Weighting: TypeAlias = Named[Callable[[Array], Array], "Weighting"]
"""``log_snr -> lambda``: the weight of the eps-MSE."""


@runtime_checkable
class Schedule(Protocol):
    """Noise schedule. A schedule may also define ``drift(t)`` and ``diffusion_squared(t)`` in closed form
    (see :mod:`scorekit.process`); otherwise they are found by automatic differentiation."""

    def alpha(self, t: ArrayLike) -> Array:
        """Signal scale at time ``t``."""
        ...

    def sigma(self, t: ArrayLike) -> Array:
        """Noise scale (standard deviation) at time ``t``."""
        ...

    def log_snr(self, t: ArrayLike) -> Array:
        """``log(alpha^2 / sigma^2)`` at time ``t``; infinite where alpha or sigma vanishes."""
        ...

    def time_at(self, log_snr: ArrayLike) -> Array:
        """The time with this ``log_snr``: the inverse of :meth:`log_snr`."""
        ...


class Solver(Protocol):
    """One step of a sampler; a frozen pytree whose hyper-parameters (eta, churn, ...) are leaves.

    Your own solver subclasses :class:`scorekit.solvers.SolverBase`, which has all of this but ``step``.

    Attributes:
      order: order of convergence.
      evals_per_step: network evaluations of a step.
      stochastic: whether ``step`` uses its key; a deterministic solver receives ``None``.
      max_past: number of earlier times that ``row`` looks back at.
    """

    order: int
    evals_per_step: int
    stochastic: bool
    max_past: int

    def row(self, schedule: Schedule, times: ArrayLike, num_past: ArrayLike) -> Any:
        """Everything about a step that does not depend on x: a pytree with the leading axes of ``times``.

        Args:
          schedule: the noise schedule.
          times: the last axis holds s, t and ``max_past`` earlier times, newest first; where fewer exist the oldest
            is repeated (or left out). Any leading axes.
          num_past: number of valid earlier times, of the leading axes; an int or a NumPy array keeps it static.
        """
        ...

    def plan(self, schedule: Schedule, ts: ArrayLike) -> Any:
        """The rows of every step of a grid ``(n + 1,)``, stacked; the history grows from nothing."""
        ...

    def init(self, x: PyTree) -> PyTree:
        """The state of ``step`` before the first step."""
        ...

    def step(
        self, state: PyTree, x_t: PyTree, row: Any, denoiser: Denoiser, *, key: Any = None
    ) -> tuple[PyTree, PyTree]:
        """``(x_s, state)`` from ``x_t`` and the row of the step."""
        raise NotImplementedError
