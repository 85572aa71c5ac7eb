"""Density distillation: a student that draws all positions at once learns from an autoregressive teacher."""

import jax.numpy as jnp

from scorekit.arguments import NonNegative, checked
from scorekit.autoregressive._checks import check_sequences
from scorekit.autoregressive.conditionals import Normal
from scorekit.autoregressive.models import SequenceModel
from scorekit.checks import check_floating, check_like
from scorekit.typing import Array, ArrayLike, Number


@checked
def density_distillation_loss(
    teacher: SequenceModel, x: ArrayLike, z: ArrayLike, log_scale: ArrayLike, regularisation: NonNegative[Number] = 0.0
) -> Array:
    """The Kullback-Leibler divergence from the teacher p to a student q, at one sample of the student::

        sum_i KL(N(m_i, s_i^2) || N(mu_i(x_<i), sigma_i(x_<i)^2)),    x_i = m_i + s_i z_i

    Its mean over z is ``KL(q || p)``: it seeks modes, so that a student that cannot have all modes of the teacher has
    some of them, where maximum likelihood covers all. The divergence of each value is in closed form, and only the
    values before it are sampled. With ``regularisation`` r the sum has ``r (log sigma_i - log s_i)^2`` as well, without
    which training is unstable where both scales are small.

    Args:
      teacher: a model with :class:`Normal` conditionals.
      x: samples of the student, ``(B, L, C)``.
      z: latents of the samples, standard normal, likewise.
      log_scale: ``log s_i``, likewise; :meth:`scorekit.networks.flows.AutoregressiveFlow.scales` returns it with x.
      regularisation: weight r of the squared difference of the logarithms.

    Returns:
      Nats of each sequence, ``(B,)``.

    >>> import jax
    >>> from scorekit.autoregressive import ar_process
    >>> z = jax.random.normal(jax.random.key(0), (2, 5, 1))
    >>> loss = density_distillation_loss(ar_process([0.0], std=2.0), 2.0 * z, z, jnp.full(z.shape, jnp.log(2.0)))
    >>> jnp.allclose(loss, 0.0, atol=1e-5).item()  # the student is the teacher, white noise
    True

    Source: van den Oord et al. 2018, Parallel WaveNet (https://arxiv.org/abs/1711.10433); Ping et al. 2019, ClariNet
    (https://arxiv.org/abs/1807.07281).
    """
    if not isinstance(teacher.conditional, Normal):
        raise ValueError(f"teacher must have normal conditionals, got {type(teacher.conditional).__name__}")
    x = check_sequences(teacher.conditional, x)
    check_floating(z=z, log_scale=log_scale)
    check_like("the shape of x", x, z=z, log_scale=log_scale)
    mean, log_std = teacher.conditional.parameters(teacher.outputs(x))
    own = x - jnp.exp(log_scale) * z
    difference = log_std - log_scale
    squares = jnp.exp(-2.0 * difference) + jnp.square((own - mean) * jnp.exp(-log_std))
    each = difference + 0.5 * (squares - 1.0) + regularisation * jnp.square(difference)
    return jnp.sum(each, axis=(1, 2))
