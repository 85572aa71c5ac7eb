"""RePaint: inpainting by replacing the observed part of the noisy state, with repeated steps back and forth."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.arguments import PositiveInt, checked
from scorekit.checks import check, check_broadcasts, check_floating, check_like
from scorekit.numerics.grids import check_grid, check_samples
from scorekit.numerics.meshes import cond, scan
from scorekit.process import perturb, transition
from scorekit.solvers.steps import stacked_rows
from scorekit.trees import combine, normal_like
from scorekit.typing import Array, ArrayLike, Denoiser, Key, PyTree, Schedule, Solver


@checked
def repaint_path(steps: PositiveInt, jump_length: PositiveInt, num_resamples: PositiveInt) -> list[int]:
    """The indices of the time grid in the order in which RePaint visits them.

    With one step left, and at every ``jump_length`` steps before it, the path goes back by ``jump_length`` steps, in
    one move, until it has visited this index ``num_resamples`` times. The last step is made once. Fewer than
    ``jump_length + 1`` steps have no jump.

    Args:
      steps: the number of steps n of the grid.
      jump_length: number of steps that a jump goes back.
      num_resamples: number of times that each group of steps is made.

    Returns:
      Indices from 0 to n; where an index is smaller than the index before, RePaint jumps back.

    >>> repaint_path(5, 2, 2)
    [0, 1, 2, 0, 1, 2, 3, 4, 2, 3, 4, 5]

    Source: the authors' schedule of Lugmayr et al. 2022 (https://arxiv.org/abs/2201.09865).
    """
    left = {steps - 1 - k: num_resamples - 1 for k in range(0, steps - jump_length, jump_length)}
    path = [0]
    while path[-1] < steps:
        path.append(path[-1] + 1)
        if left.get(path[-1], 0) > 0:
            left[path[-1]] -= 1
            path.append(path[-1] - jump_length)
    return path


@checked
def repaint(
    key: Key,
    denoiser: Denoiser,
    schedule: Schedule,
    solver: Solver,
    x_init: PyTree,
    ts: ArrayLike,
    mask: PyTree,
    observation: PyTree,
    *,
    jump_length: PositiveInt = 10,
    num_resamples: PositiveInt = 10,
) -> PyTree:
    """Fills in the masked part of data: :func:`scorekit.samplers.sample` whose known part follows ``q(x_s | y)``.

    After each step from t to s the known part is replaced by ``alpha_s y + sigma_s z`` with fresh z. A step forward in
    noise, ``q(x_t | x_s)``, mixes the two parts before they are denoised together again (:func:`repaint_path`). With
    ``num_resamples=1`` this is plain noisy replacement (Song et al. 2021, https://arxiv.org/abs/2011.13456). The
    observation is assumed to be free of noise; the known part of the result is exactly ``observation`` where the grid
    ends at ``sigma = 0``.

    One ``lax.scan``, with nearly ``num_resamples`` times the evaluations of :func:`scorekit.samplers.sample`.

    Args:
      key: PRNG key.
      denoiser: the prior; no gradient is taken.
      schedule: its schedule.
      solver: any that computes single rows; ``Ancestral()`` in the paper. Its history restarts after every jump back.
      x_init: the start, from :func:`scorekit.process.sample_prior`.
      ts: decreasing times ``(n + 1,)``.
      mask: True or 1 where the data are known, a tree like one example (or like the batch).
      observation: the data where they are known, shaped like ``x_init``.
      jump_length: the number of steps between jumps, and the length of a jump.
      num_resamples: number of times that each group of steps is made.

    Returns:
      The final state, shaped and typed like ``x_init``.

    Raises:
      ValueError: for a precomputed solver.

    >>> from scorekit import densities, denoisers, schedules, solvers
    >>> covariance, schedule = jnp.array([[1.0, 0.9], [0.9, 1.0]]), schedules.Cosine()
    >>> prior = denoisers.exact_denoiser(densities.gaussian(jnp.zeros(2), covariance=covariance), schedule)
    >>> noise, ts = jax.random.normal(jax.random.key(0), (500, 2)), solvers.grids.uniform(10)
    >>> known, y = jnp.array([True, False]), jnp.full((500, 2), 2.0)
    >>> run = jax.jit(repaint, static_argnames="jump_length")
    >>> x = run(jax.random.key(1), prior, schedule, solvers.Ancestral(), noise, ts, known, y, jump_length=1)
    >>> bool((x[:, 0] == 2.0).all()), 1.6 < float(x[:, 1].mean()) < 2.0  # 0.9 * 2 is right
    (True, True)

    Source: Lugmayr et al. 2022, alg. 1 (https://arxiv.org/abs/2201.09865).
    """
    ts = check_grid(ts)
    check_floating(x_init=x_init, observation=observation)
    check_like("x_init", x_init, observation=observation)
    check_broadcasts("x_init", x_init, mask=mask)
    for leaf in jax.tree.leaves(mask):
        check(lambda m: (m == 0) | (m == 1), "True or 1 where the data are known, else False or 0", mask=leaf)
    path = np.asarray(repaint_path(ts.shape[0] - 1, jump_length, num_resamples))
    falls = np.diff(path) > 0
    rows = _falling_rows(solver, schedule, ts, path)
    once = jax.jit(lambda x, t: denoiser(x, t))

    def down(key, state, x, t, s, row):
        del t
        for_step, for_known = jax.random.split(key)
        x, state = solver.step(state, x, row, once, key=for_step if solver.stochastic else None)
        known = perturb(schedule, observation, normal_like(for_known, x), s)
        masked = lambda a, b, m: jnp.where(m == 1, b.astype(a.dtype), jnp.where(m == 0, a, jnp.nan))
        x = jax.tree.map(masked, x, known, mask)
        return x, state

    def up(key, state, x, s, t, row):
        del state, row
        kernel = transition(schedule, t, s)
        return combine((kernel.scales[0], x), (kernel.std, normal_like(key, x))), solver.init(x)

    def body(carry, inputs):
        (x, state), (key, falls, begin, end, row) = carry, inputs
        return cond(falls, down, up, key, state, x, begin, end, row), None

    keys = jax.random.split(key, len(path) - 1)
    moves = (keys, jnp.asarray(falls), ts[path[:-1]], ts[path[1:]], rows)
    x = scan(body, (x_init, solver.init(x_init)), moves)[0][0]
    return check_samples(x, schedule=schedule, ts=ts, x_init=x_init, observation=observation)


def _falling_rows(solver: Solver, schedule: Schedule, ts: Array, path: np.ndarray) -> PyTree:
    """The row of every falling move of a path; of a rising move, the unused row of the fall before it.

    Every descending run is planned anew: its history starts empty.
    """
    falls = np.diff(path) > 0
    moves = np.flatnonzero(falls)
    last_jump = np.maximum.accumulate(np.where(falls, -1, np.arange(len(falls))))[moves]
    num_past = np.minimum(moves - last_jump - 1, solver.max_past)  # the position in the run
    start = path[moves]
    window = np.stack([start + 1, *(start - np.minimum(j, num_past) for j in range(1 + solver.max_past))], axis=-1)
    rows = stacked_rows(solver, schedule, ts[window], num_past)
    return jax.tree.map(lambda leaf: leaf[np.cumsum(falls) - 1], rows)
