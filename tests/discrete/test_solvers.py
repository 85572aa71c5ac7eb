"""Solvers of tokens: the exact law of what they sample, by propagation over all states."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import chain, distance, frequencies, law, states

from scorekit import discrete
from scorekit.discrete import schedules

V, LENGTH = 2, 3
JOINT = chain(seed=1)
MAKE = {"absorbing": discrete.absorbing, "uniform": discrete.uniform}
SOLVERS = {  # how the distance to the data falls with the number of steps
    "tau_leaping": (lambda n: discrete.TauLeaping(), 1.0),
    "predictor_corrector": (lambda n: discrete.PredictorCorrector(size=0.5), 1.0),
    "remasking": (lambda n: discrete.Remasking(), 0.5),
    "remasking_slowly": (lambda n: discrete.Remasking(cap=1 / n), 1.0),
}
CASES = [(noise, name) for noise in MAKE for name in SOLVERS if noise == "absorbing" or "remasking" not in name]
LAW = jax.jit(law, static_argnames="length")


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "name"), CASES)
def test_the_exact_law_of_a_solver_converges_at_its_order(noise, name):
    make, order = SOLVERS[name]
    grids = (16, 32) if order == 1.0 else (128, 256)
    process = MAKE[noise](V)
    denoiser = discrete.exact_denoiser(JOINT, process)
    errors = [distance(LAW(process, make(n), denoiser, steps=n, length=LENGTH), JOINT) for n in grids]
    found = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(found, order, atol=0.25 if order == 1.0 else 0.12)
    assert errors[-1] < 0.12


@pytest.mark.parametrize("noise", MAKE)
def test_ancestral_steps_are_exact_for_one_token_and_converge_for_several(noise):
    process = MAKE[noise](V, schedules.Cosine())
    one = jnp.log(jnp.array([0.3, 0.7]))
    assert distance(LAW(process, discrete.Ancestral(), discrete.exact_denoiser(one, process), 3, 1), one) < 1e-6
    denoiser = discrete.exact_denoiser(JOINT, process)
    first, second = (distance(LAW(process, discrete.Ancestral(), denoiser, n, LENGTH), JOINT) for n in (8, 16))
    assert 1.7 < first / second < 2.2


def test_tau_leaping_begins_where_the_noise_has_no_rate_of_change():
    process, one = discrete.uniform(V, schedules.Cosine()), jnp.log(jnp.array([0.3, 0.7]))
    denoiser = discrete.exact_denoiser(one, process)
    first, second = (distance(LAW(process, discrete.TauLeaping(), denoiser, n, 1), one) for n in (32, 64))
    assert second < 0.55 * first < 0.02


def test_one_step_draws_the_tokens_independently():
    process = discrete.absorbing(V)
    p = jnp.exp(JOINT)
    marginals = [p.sum(tuple(j for j in range(LENGTH) if j != i)) for i in range(LENGTH)]
    found = LAW(process, discrete.Ancestral(), discrete.exact_denoiser(JOINT, process), 1, LENGTH)
    np.testing.assert_allclose(found, jnp.einsum("i,j,k->ijk", *marginals), atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_remasking_keeps_the_marginals_of_the_process(eta):
    """With a denoiser that knows x0 the tokens at s have the law ``q(z_s | x0)``; eta = 0 is the ancestral step."""
    process = discrete.absorbing(2, schedules.Cosine())
    knows = lambda z, t: jnp.log(jnp.broadcast_to(jnp.array([0.0, 1.0]), (*z.shape, 2)))
    solver, z = discrete.Remasking(eta=eta), states(3, 1)
    p = jnp.array([0.0, 0.0, 1.0])
    for row in map(solver.row, [process] * 3, ([0.7, 1.0], [0.4, 0.7], [0.0, 0.4])):
        step = jnp.exp(solver.transition(z, row, knows))[:, 0]
        np.testing.assert_allclose(step.sum(1), 1.0, atol=1e-6)
        if eta == 0.0:
            np.testing.assert_allclose(
                step[1:], jnp.exp(discrete.Ancestral().transition(z, row, knows))[1:, 0], rtol=1e-6
            )
        p = p @ step
        np.testing.assert_allclose(p, [0.0, row.alpha_s, row.sigma_s], atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "solver"),
    [("absorbing", discrete.Ancestral()), ("uniform", discrete.PredictorCorrector(num_corrections=2))],
    ids=MAKE,
)
def test_samples_follow_the_exact_law(noise, solver):
    process, joint = MAKE[noise](V), chain(seed=2, length=2)
    denoiser = discrete.exact_denoiser(joint, process)
    z = discrete.sample_prior(jax.random.key(0), process, jnp.zeros((20_000, 2), jnp.uint8))
    x = jax.jit(discrete.sample)(jax.random.key(1), denoiser, process, solver, z, jnp.linspace(1.0, 0.0, 5))
    assert x.dtype == jnp.uint8
    exact = LAW(process, solver, denoiser, steps=4, length=2)
    assert 0.5 * np.abs(frequencies(x, V) - exact).sum() < 0.015


@pytest.mark.slow
def test_one_mask_at_a_time_is_exact_and_keeps_a_condition():
    process = discrete.absorbing(V, schedules.Cosine())
    denoiser = discrete.exact_denoiser(JOINT, process)
    run = jax.jit(discrete.first_hitting_sample)
    x = run(jax.random.key(0), denoiser, process, jnp.full((20_000, LENGTH), process.mask))
    assert distance(frequencies(x, V), JOINT) < 0.015
    x = run(jax.random.key(0), denoiser, process, jnp.full((20_000, LENGTH), process.mask).at[:, 1].set(1))
    assert np.all(x[:, 1] == 1)
    given = JOINT[:, 1] - jax.nn.logsumexp(JOINT[:, 1])
    assert distance(frequencies(x[:, ::2], V), given) < 0.015


def test_one_mask_at_a_time_evaluates_the_times_of_the_process():
    """The k-th of n times at which tokens are revealed has, for the linear schedule, the mean ``k / (n + 1)``."""
    process, seen = discrete.absorbing(2), []

    def denoiser(z, t):
        jax.debug.callback(lambda t: seen.append(np.asarray(t)), t, ordered=True)
        return jnp.full((*z.shape, 2), -jnp.log(2.0))

    jax.jit(discrete.first_hitting_sample, static_argnums=1)(
        jax.random.key(0), denoiser, process, jnp.full((4000, 3), 2)
    )
    jax.effects_barrier()
    np.testing.assert_allclose([t.mean() for t in seen], [0.75, 0.5, 0.25], atol=0.02)


@pytest.mark.slow
def test_confidence_decides_which_tokens_are_revealed():
    process, joint = discrete.absorbing(2), chain(seed=2, length=2)
    denoiser, z = discrete.exact_denoiser(joint, process), jnp.full((20_000, 2), 2)
    ts = jnp.linspace(1.0, 0.0, 3)
    run = jax.jit(discrete.sample)
    greedy = run(jax.random.key(0), denoiser, process, discrete.ConfidenceOrdered(temperature=0.0), z, ts)
    p = np.exp(joint)
    first, second, exact = p.sum(1), p.sum(0), np.zeros((2, 2))
    for a, b in np.ndindex(2, 2):  # drawn independently; the more probable value stays, the other token is drawn anew
        if first[a] > second[b]:
            exact[a] += second[b] * p[a]
        else:
            exact[:, b] += first[a] * p[:, b]
    assert 0.5 * np.abs(frequencies(greedy, 2) - exact).sum() < 0.015
    assert distance(exact, joint) > 0.02  # the bias
    random = run(jax.random.key(1), denoiser, process, discrete.ConfidenceOrdered(temperature=1e4), z, ts)
    assert distance(frequencies(random, 2), joint) < 0.015


@pytest.mark.slow
def test_confidence_reveals_as_many_tokens_as_the_schedule_and_at_least_one():
    process, flat = discrete.absorbing(2), lambda z, t: jnp.full((*z.shape, 2), -jnp.log(2.0))
    z = jnp.full((2, 4, 4), 2).at[1, :, :2].set(0)  # a condition of half the tokens
    run = jax.jit(discrete.trajectory, static_argnums=1)
    _, path = run(jax.random.key(0), flat, process, discrete.ConfidenceOrdered(), z, jnp.linspace(1.0, 0.0, 9))
    masks = (path == 2).sum((2, 3))
    np.testing.assert_array_equal(masks, np.stack([np.arange(14, -1, -2), np.arange(7, -1, -1)], axis=1))
    assert np.all(path[:, 1, :, :2] == 0)


@pytest.mark.slow
def test_a_loop_of_ones_own_is_the_same_as_sample_and_hyper_parameters_are_leaves():
    process, key = discrete.absorbing(V), jax.random.key(0)
    denoiser, ts = discrete.exact_denoiser(JOINT, process), jnp.linspace(1.0, 0.0, 4)
    z_init = jnp.full((64, LENGTH), process.mask)

    @jax.jit
    def run(eta):
        @chex.assert_max_traces(n=1)
        def traced(z, t):
            chex.assert_rank(t, 0)
            return denoiser(z, t)

        return discrete.trajectory(key, traced, process, discrete.Remasking(eta=eta), z_init, ts)

    solver = discrete.Remasking(eta=0.5)
    rows, state, z, path = solver.plan(process, ts), solver.init(z_init), z_init, []
    step = jax.jit(lambda key, state, z, row: solver.step(key, state, z, row, denoiser))
    for k, each in enumerate(jax.random.split(key, 3)):
        z, state = step(each, state, z, jax.tree.map(lambda leaf, k=k: leaf[k], rows))
        path.append(z)
    final, states_ = run(0.5)
    np.testing.assert_array_equal(final, z)
    np.testing.assert_array_equal(states_, jnp.stack(path))
    run(0.2)


BROKEN = {
    "nan": [jnp.nan, jnp.nan],
    "one nan": [jnp.nan, 0.0],
    "impossible": [-jnp.inf, -jnp.inf],
    "infinite": [jnp.inf, 0.0],
    "logits": [1.0, 2.0],
}
SAMPLERS = {
    "first_hitting": None,
    "ancestral": discrete.Ancestral(),
    "confidence_ordered": discrete.ConfidenceOrdered(),
    "predictor_corrector": discrete.PredictorCorrector(),
    "remasking": discrete.Remasking(),
    "tau_leaping": discrete.TauLeaping(),
}


def broken_once(process, solver, dtype):
    """Tokens of a sampler whose denoiser is broken for the first of three examples at some times, and what it saw."""
    seen, ts, key = [], jnp.linspace(1.0, 0.0, 5), jax.random.key(0)
    first, last = (0.3, 0.9) if solver is not None else (-0.1, 1.1)
    z = jnp.full((3, 4), process.num_states - 1, dtype).at[:, 0].set(0)

    def draw(values):
        def denoiser(z, t):
            jax.debug.callback(lambda z: seen.append(np.asarray(z)), z)
            fails = (jnp.arange(3) == 0) & (first < t) & (t < last)
            return jnp.where(fails[:, None, None], values, jnp.log(jnp.full((*z.shape, 2), 0.5)))

        if solver is None:
            return discrete.first_hitting_sample(key, denoiser, process, z)
        return discrete.sample(key, denoiser, process, solver, z, ts)

    return draw, seen


@pytest.mark.parametrize(
    ("noise", "name", "dtype"),
    [
        ("absorbing", "ancestral", jnp.int32),
        ("absorbing", "first_hitting", jnp.uint8),
        *(pytest.param("absorbing", name, jnp.int32, marks=pytest.mark.slow) for name in list(SAMPLERS)[2:]),
        *(
            pytest.param("uniform", name, jnp.uint8, marks=pytest.mark.slow)
            for name in ("ancestral", "predictor_corrector", "tau_leaping")
        ),
    ],
)
def test_what_is_not_finite_is_no_token_and_stays_so(noise, name, dtype):
    """Where the denoiser breaks for a while only, the tokens that it left are -1 at the end and never its argument."""
    process, no_token = MAKE[noise](2), {jnp.int32: -1, jnp.uint8: 255}[dtype]
    draw, seen = broken_once(process, SAMPLERS[name], dtype)
    compiled = jax.jit(draw)
    for values in BROKEN.values():
        x = np.asarray(compiled(jnp.array(values)))
        assert np.any(x[0] == no_token), values
        assert np.all((x[1:] >= 0) & (x[1:] < 2))
    jax.effects_barrier()
    assert all(np.all((z >= 0) & (z < process.num_states)) for z in seen)
    with pytest.raises(ValueError, match=r"denoiser must return .* but for 1 of 3 examples it does not"):
        draw(jnp.array(values))
