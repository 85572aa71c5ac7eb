"""Adversarial refinement: a discriminator of noised data and noised samples, as a second term for a generator.

The discriminator returns logits D, positive for data. At its optimum, on noised samples,

    ``D(x_t) = log p_t(x_t) - log q_t(x_t)``,   whose gradient is   ``score_p - score_q``:

the adversarial gradient of ``-D`` is then the gradient of the reverse KL divergence
(:mod:`scorekit.flow_maps.matching`), and for ``softplus(-D)`` that gradient times ``q_t / (p_t + q_t)``. A
discriminator of *data* does not inherit the errors of a teacher. With a trained discriminator the gradient is that of a
classifier.

Logits are trees: each leaf ``(B, ...)`` is a discriminator, or a head, whose logits are averaged over its positions;
leaves are summed.

Sources: Goodfellow et al. 2014 (https://arxiv.org/abs/1406.2661); Yin et al. 2024, "DMD2"
(https://arxiv.org/abs/2405.14867); Sauer et al. 2024, "LADD" (https://arxiv.org/abs/2403.12015).
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.checks import check_floating, check_like, check_per_example
from scorekit.numerics import wide
from scorekit.trees import sum_per_example
from scorekit.typing import Array, PyTree

AdversarialForm: TypeAlias = Literal["softplus", "hinge"]
"""The loss of a discriminator and of its generator: the non-saturating loss of GANs, or the hinge loss."""

Discriminator: TypeAlias = Callable[[PyTree, Array], PyTree]
"""``(x_t, t) -> logits``, leaves ``(B, ...)``: positive for data."""

_REAL = {"softplus": lambda logit: jax.nn.softplus(-logit), "hinge": lambda logit: jax.nn.relu(1.0 - logit)}
_FAKE = {"softplus": jax.nn.softplus, "hinge": lambda logit: jax.nn.relu(1.0 + logit)}
_GENERATOR = {"softplus": lambda logit: jax.nn.softplus(-logit), "hinge": lambda logit: -logit}


@checked
def discriminator_loss(real_logits: PyTree, fake_logits: PyTree, form: AdversarialForm = "softplus") -> Array:
    """The loss of a discriminator for each example, ``(B,)`` in at least float32.

    ``softplus(-D(real)) + softplus(D(fake))``, twice the cross-entropy, or the hinge loss
    ``relu(1 - D(real)) + relu(1 + D(fake))``. The least expected value is reached at ``D = log p - log q`` for
    softplus, ``sign(p - q)`` for hinge: ``2 log 2 - 2 JS(p, q)`` and ``2 - 2 TV(p, q)``.

    Args:
      real_logits: logits of data, leaves ``(B, ...)``, one leaf for each discriminator or head.
      fake_logits: logits of samples, leaves ``(B, ...)``.
      form: "softplus" or "hinge", the same for the discriminator and the generator.

    >>> discriminator_loss(jnp.array([[2.0]]), jnp.array([[-0.5]]), "hinge")
    Array([0.5], dtype=float32)

    Source of the hinge loss: Lim & Ye 2017 (https://arxiv.org/abs/1705.02894).
    """
    _check_batch(real_logits=real_logits)
    _check_batch(fake_logits=fake_logits)
    check_like("real_logits", real_logits, fake_logits=fake_logits)
    return _mean(_REAL[form], real_logits) + _mean(_FAKE[form], fake_logits)


@checked
def adversarial_loss(fake_logits: PyTree, form: AdversarialForm = "softplus") -> Array:
    """The loss of a generator for each example, ``(B,)``: ``softplus(-D(fake))``, or ``-D(fake)`` for hinge.

    With ``D = log p_t - log q_t`` the second is the reverse KL divergence, the first weights its gradient by
    ``sigmoid(-D) = q_t / (p_t + q_t)``: samples that look like data get less of it. Hold the parameters of the
    discriminator fixed.

    Args:
      fake_logits: logits of samples, leaves ``(B, ...)``.
      form: "softplus" or "hinge", the same for the discriminator and the generator.

    >>> adversarial_loss(jnp.array([[-0.5]]), "hinge")
    Array([0.5], dtype=float32)
    """
    _check_batch(fake_logits=fake_logits)
    return _mean(_GENERATOR[form], fake_logits)


@checked
def gradient_penalty(discriminator: Callable[[PyTree], PyTree], x: PyTree) -> Array:
    """The penalty R1, ``||grad_x D(x)||^2 / 2``, ``(B,)``; at data, times gamma, it keeps a discriminator smooth.

    For a head on fixed features, x are the features (ADD, LADD): nothing is differentiated through the network below.

    Args:
      discriminator: ``x -> logits``, leaves ``(B, ...)``; the logits of an example depend on its x alone.
      x: data, or features of data, leaves ``(B, ...)``.

    >>> gradient_penalty(lambda x: x @ jnp.array([3.0, 4.0]), jnp.ones((2, 2)))
    Array([12.5, 12.5], dtype=float32)

    Source: Mescheder et al. 2018 (https://arxiv.org/abs/1801.04406); Sauer et al. 2023, "ADD"
    (https://arxiv.org/abs/2311.17042).
    """
    _check_batch(x=x)

    def total(x):
        logits = discriminator(x)
        _check_batch(logits=logits)
        means = _mean(lambda logit: logit, logits)
        check_per_example(x, logits=means)
        return jnp.sum(means)

    return 0.5 * sum_per_example(jnp.square, jax.grad(total)(x))


def feature_matching_loss(real_features: PyTree, fake_features: PyTree) -> Array:
    """The distance of a discriminator's features, ``(B,)``: ``sum_l mean |f_l(real) - f_l(fake)|``.

    For pairs, such as a sound and its reconstruction from the same spectrogram; the features of data get no gradient.

    Args:
      real_features: features of data, leaves ``(B, ...)``.
      fake_features: features of samples, shaped like ``real_features``.

    >>> feature_matching_loss([jnp.array([[2.0]])], [jnp.array([[-0.5]])])
    Array([2.5], dtype=float32)

    Source: Kumar et al. 2019, "MelGAN" (https://arxiv.org/abs/1910.06711).
    """
    _check_batch(real_features=real_features)
    _check_batch(fake_features=fake_features)
    check_like("real_features", real_features, fake_features=fake_features)
    fixed = jax.lax.stop_gradient(real_features)
    return _mean(jnp.abs, jax.tree.map(lambda real, fake: wide(real) - fake, fixed, fake_features))


def _mean(fn, tree):
    """``fn`` averaged over all but the first axis of each leaf, summed over leaves, in at least float32."""
    means = [jnp.mean(fn(wide(leaf)).reshape(leaf.shape[0], -1), axis=1) for leaf in jax.tree.leaves(tree)]
    return sum(means[1:], means[0])


def _check_batch(**named):
    check_floating(**named)
    for name, tree in named.items():
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(tree)]
        if len({shape[:1] for shape in shapes} - {()}) != 1 or () in shapes:
            raise ValueError(f"{name} must be arrays (B, ...) of one B, got shapes {shapes}")
