"""Guidance of sequential conditionals: each ``p(x_i | x_<i)`` is guided and normalised by itself.

It samples the law of :func:`scorekit.guidance.sequences.guide_sequentially`, not the guided joint;
:func:`scorekit.autoregressive.sample_joint` weights the samples towards the joint. The joint of continuous sequences is
guided by their log-densities: :mod:`scorekit.guidance.explicit` with ``Partial(log_prob, model)``.
"""

import jax
import jax.numpy as jnp

from scorekit.arguments import Finite, checked
from scorekit.autoregressive.conditionals import Categorical, Conditional
from scorekit.autoregressive.models import SequenceModel
from scorekit.numerics import log_ratio, tilt, wide
from scorekit.trees import expand, pytree_dataclass
from scorekit.typing import Array, Number, PyTree


@pytree_dataclass
class GuidedModel:
    """Two models of codes whose conditionals are combined; build it with :func:`classifier_free`.

    Attributes:
      cond, uncond: ``p(x | y)`` and ``p(x)`` of the same codes; an impossible code stays impossible.
      guidance_scale: gamma, a scalar, or one per example ``(B,)``.

    >>> from scorekit.autoregressive import markov_chain
    >>> fair, same = markov_chain(jnp.zeros(2), jnp.zeros((2, 2))), markov_chain(jnp.zeros(2), jnp.eye(2))
    >>> model = GuidedModel(cond=same, uncond=fair, guidance_scale=3.0)
    >>> model.outputs(jnp.array([[0, 0]])).shape, model.step(model.init_state(1, 2), jnp.zeros(1, int))[0].shape
    ((1, 2, 2), (1, 2))
    """

    cond: SequenceModel
    uncond: SequenceModel
    guidance_scale: Number

    @property
    def conditional(self) -> Conditional:
        """The conditional of the two models."""
        return self.uncond.conditional

    def outputs(self, x: Array) -> Array:
        """All guided conditionals at once."""
        return jax.nn.log_softmax(self._tilt(self.cond.outputs(x), self.uncond.outputs(x)))

    def init_state(self, batch: int, length: int) -> PyTree:
        """The states of both models."""
        return self.cond.init_state(batch, length), self.uncond.init_state(batch, length)

    def step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """The next guided conditional."""
        tilted, state = self._tilted_step(state, previous)
        return jax.nn.log_softmax(tilted), state

    def _tilted_step(self, state: PyTree, previous: Array) -> tuple[Array, PyTree]:
        """As :meth:`step`, not normalised: :func:`scorekit.autoregressive.sample_joint` weights by the normaliser."""
        (cond, first), (uncond, second) = self.cond.step(state[0], previous), self.uncond.step(state[1], previous)
        return self._tilt(cond, uncond), (first, second)

    def _tilt(self, cond: Array, uncond: Array) -> Array:
        """``log p(x_i | x_<i) + gamma log(p(x_i | x_<i, y) / p(x_i | x_<i))`` of the logits of both models."""
        log_c, log_u = (jax.nn.log_softmax(wide(logits)) for logits in (cond, uncond))
        return tilt(log_u, log_ratio(log_c, log_u), expand(jnp.asarray(self.guidance_scale, log_u.dtype), log_u))


@checked
def classifier_free(cond: SequenceModel, uncond: SequenceModel, guidance_scale: Finite[Number]) -> GuidedModel:
    """Classifier-free guidance of every conditional: ``p(x_i | x_<i, y)^gamma p(x_i | x_<i)^(1 - gamma)``, normalised.

    The result is a model: its likelihood follows from the guided conditionals, and sampling it evaluates both models
    once for each position. At gamma 0 and 1 it is the unconditional and the conditional model; else it differs from the
    guided joint, since the factor of the continuations is missing, and equals it for independent positions.

    Args:
      cond, uncond: ``p(x | y)`` and ``p(x)`` of the same codes; an impossible code stays impossible.
      guidance_scale: gamma, a scalar, or one per example ``(B,)``.

    Returns:
      A :class:`GuidedModel`.

    >>> from scorekit.autoregressive import log_prob, markov_chain
    >>> log = lambda *rows: jnp.log(jnp.array(rows))
    >>> cond, uncond = markov_chain(log(0.25, 0.75), jnp.zeros((2, 2))), markov_chain(log(0.5, 0.5), jnp.zeros((2, 2)))
    >>> guided = classifier_free(cond, uncond, 2.0)
    >>> [f"{p:.2f}" for p in jnp.exp(log_prob(guided, jnp.array([[0], [1]])))]  # 1 to 9
    ['0.10', '0.90']

    Source: Dieleman 2022 (https://sander.ai/2022/05/26/guidance.html).
    """
    for name, model in (("cond", cond), ("uncond", uncond)):
        if not isinstance(model.conditional, Categorical):
            raise ValueError(f"{name} must be a model of codes, with Categorical conditionals, got {model.conditional}")
    if cond.conditional.num_outputs != uncond.conditional.num_outputs:
        raise ValueError(
            f"cond must have the {uncond.conditional.num_outputs} codes of uncond, got {cond.conditional.num_outputs}"
        )
    return GuidedModel(cond=cond, uncond=uncond, guidance_scale=guidance_scale)
