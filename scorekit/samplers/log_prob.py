"""Log-probabilities of the steps of stochastic samplers, for policy-gradient fine-tuning.

A step with noise is a Gaussian ``x_{k+1} ~ N(mean_k, std_k^2)`` whose mean depends on the network and whose standard
deviation depends on the times alone. A trajectory is an episode of a policy with

    ``log p(x_{k+1} | x_k, ...) = -|x_{k+1} - mean_k|^2 / (2 std_k^2) - D log std_k - D/2 log(2 pi)``.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.checks import check_floating
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import scan
from scorekit.samplers._gaussian_rows import gaussian_rows, gaussian_steps, log_normal_step
from scorekit.trees import combine, normal_like
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule


class LoggedSample(NamedTuple):
    """The result of :func:`sample_with_log_probs`.

    Attributes:
      x: the final state, shaped and typed like ``x_init``.
      trajectory: every state, ``x_init`` first, leaves ``(n + 1, B, ...)``.
      log_probs: log-probability of each step, ``(n, B)``, in nats.

    >>> out = LoggedSample(x=jnp.ones((2, 1)), trajectory=jnp.ones((4, 2, 1)), log_probs=jnp.ones((3, 2)))
    >>> out.log_probs.sum(axis=0)  # of the trajectory of each example
    Array([3., 3.], dtype=float32)

    Source: Black et al. 2023 (https://arxiv.org/abs/2305.13301).
    """

    x: PyTree
    trajectory: PyTree
    log_probs: Array


@checked
def sample_with_log_probs(
    key: Key, denoiser: Denoiser, schedule: Schedule, solver: Any, x_init: PyTree, ts: ArrayLike
) -> LoggedSample:
    """:func:`scorekit.samplers.sample` with the same key and samples, and the log-probability of each step it took.

    A step without noise, such as the last one to ``sigma = 0``, is deterministic and counts 0: a policy gradient
    ignores the effect of the parameters on that step. To differentiate, pass the trajectory to
    :func:`trajectory_log_probs`: here the trajectory depends on the parameters, too.

    Args:
      key: PRNG key.
      denoiser: ``(x_t, t) -> Prediction``; ``t`` is a scalar in the loop.
      schedule: the noise schedule of the denoiser.
      solver: a stochastic solver with the method ``mean`` (:class:`scorekit.solvers.LinearSolver`): ``Ancestral``,
        ``EulerMaruyama``, ``ReverseDiffusion``, ``DPMSolverPP2MSDE``, ``DPMSolverPP3MSDE``, ``SASolver``.
      x_init: the start, leaves ``(B, ...)``.
      ts: decreasing times ``(n + 1,)``.

    Returns:
      A :class:`LoggedSample`.

    Raises:
      ValueError: for a solver without noise or whose step is not one Gaussian.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.denoisers import denoiser_from_network
    >>> schedule, ts = schedules.Cosine(), jnp.array([1.0, 0.5, 0.0])
    >>> denoiser = denoiser_from_network(lambda x, t: 0.0 * x, schedule, "x0")
    >>> out = sample_with_log_probs(jax.random.key(0), denoiser, schedule, solvers.Ancestral(), jnp.ones((3, 2)), ts)
    >>> out.trajectory.shape, out.log_probs.shape, out.log_probs[-1].tolist()
    ((3, 3, 2), (2, 3), [0.0, 0.0, 0.0])

    Source: Black et al. 2023 (https://arxiv.org/abs/2305.13301).
    """
    ts = check_grid(ts)
    check_floating(x_init=x_init)
    rows = gaussian_rows(solver, schedule, ts)

    def body(carry, inputs):
        (x, state), (row, key) = carry, inputs
        mean, state = solver.mean(state, x, row, denoiser)
        x = combine((1.0, mean), (row.std, normal_like(key, x)))
        return (x, state), (x, log_normal_step(x, mean, row.std))

    keys = jax.random.split(key, ts.shape[0] - 1)
    start = (x_init, solver.init(x_init))
    (x, _), (states, log_probs) = scan(body, start, (rows, keys))
    trajectory = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), x_init, states)
    return LoggedSample(check_samples(x, schedule=schedule, ts=ts, x_init=x_init), trajectory, log_probs)


@checked
def trajectory_log_probs(
    denoiser: Denoiser, schedule: Schedule, solver: Any, trajectory: PyTree, ts: ArrayLike
) -> Array:
    """The log-probability of each step of a given trajectory, under this denoiser.

    With the denoiser that made the trajectory these are the values of :func:`sample_with_log_probs`, up to rounding.
    The gradient of their sum times a reward is the policy gradient, ``exp(new - old)`` the importance ratio. The
    gradient goes through all n evaluations: wrap the network in ``jax.checkpoint`` to need the memory of one. For a
    one-step solver a part ``trajectory[a : b + 1]``, ``ts[a : b + 1]`` may be given alone; a multistep solver rebuilds
    its history from the start of the trajectory.

    Args:
      denoiser: ``(x_t, t) -> Prediction``, possibly with other parameters than when sampling.
      schedule: the noise schedule.
      solver: the solver that made the trajectory.
      trajectory: every state, leaves ``(n + 1, B, ...)``.
      ts: its times, ``(n + 1,)``.

    Returns:
      ``(n, B)`` in nats, summed over each example; 0 for a step without noise.

    Raises:
      ValueError: for a trajectory of another length than ``ts``.

    >>> from scorekit import schedules, solvers
    >>> from scorekit.denoisers import denoiser_from_network
    >>> schedule, ts = schedules.RectifiedFlow(), jnp.array([1.0, 0.5])
    >>> network = lambda gain: denoiser_from_network(lambda x, t: gain * x, schedule, "x0")
    >>> path, ddpm = jnp.ones((2, 1, 1)), solvers.Ancestral()
    >>> loss = lambda gain: trajectory_log_probs(network(gain), schedule, ddpm, path, ts).sum()
    >>> round(float(jax.grad(loss)(0.5)), 3)
    1.5

    Source: Black et al. 2023 (https://arxiv.org/abs/2305.13301).
    """
    return gaussian_steps(denoiser, schedule, solver, trajectory, ts)[0]
