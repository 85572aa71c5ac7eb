"""Guided tokens against guided joints that are counted out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import chain, distance, law, log_forward, states

from scorekit import discrete
from scorekit.guidance.sequences import guide_joint, guide_sequentially

V, LENGTH, GAMMA = 2, 3, 2.5
LABELS = jnp.log(jnp.array([0.4, 0.6]))
CONDITIONAL = jnp.stack([chain(seed=5), chain(seed=6)])  # log p(x | y)
COND = CONDITIONAL[1]
UNCOND = jax.nn.logsumexp(CONDITIONAL + LABELS[:, None, None, None], axis=0)
MAKE = {"absorbing": discrete.absorbing, "uniform": discrete.uniform}
LAW = jax.jit(law, static_argnames="length")


def both(process):
    return discrete.exact_denoiser(COND, process), discrete.exact_denoiser(UNCOND, process)


def jump_law(cond, uncond, normalise):
    """The law of revealing one mask at a time, by recursion over all partly masked sequences.

    The next place is uniform if every token is normalised, and otherwise as probable as its total guided rate.
    """
    process = discrete.absorbing(V)
    z = states(V + 1, LENGTH)
    weights = np.exp(np.asarray((1 - GAMMA) * uncond(z, 0.5) + GAMMA * cond(z, 0.5)))
    index = {tuple(s): i for i, s in enumerate(np.asarray(z).tolist())}
    law, reached = np.zeros((V,) * LENGTH), {(process.mask,) * LENGTH: 1.0}
    for _ in range(LENGTH):
        following = {}
        for state, p in reached.items():
            masked = [i for i in range(LENGTH) if state[i] == process.mask]
            rates = {i: weights[index[state]][i] for i in masked}
            if normalise:
                rates = {i: rate / rate.sum() for i, rate in rates.items()}
            total = sum(rate.sum() for rate in rates.values())
            for i, token in itertools.product(masked, range(V)):
                target = (*state[:i], token, *state[i + 1 :])
                following[target] = following.get(target, 0.0) + p * rates[i][token] / total
        reached = following
    for state, p in reached.items():
        law[state] = p
    return law


@pytest.mark.parametrize("noise", MAKE)
@pytest.mark.slow
def test_scales_of_zero_and_one_are_the_unconditional_and_the_conditional_denoiser(noise):
    process = MAKE[noise](V)
    cond, uncond = both(process)
    z = states(process.num_states, LENGTH)
    row = process.row(jnp.array([0.3, 0.4]))
    for scale, part in ((0.0, uncond), (1.0, cond)):
        for guided in (discrete.classifier_free(cond, uncond, scale), discrete.rate_guidance(cond, uncond, scale)):
            np.testing.assert_allclose(jnp.exp(guided(z, 0.4)), jnp.exp(part(z, 0.4)), atol=1e-5)
        exact = process.noise.rates(part(z, 0.4), z, row)
        found = guided.log_rates(z, row)
        np.testing.assert_allclose(found[0], exact[0])
        np.testing.assert_allclose(jnp.exp(found[1]), jnp.exp(exact[1]), atol=1e-5)


@pytest.mark.slow
def test_independent_tokens_are_guided_like_the_joint():
    process = discrete.uniform(V)
    cond, uncond = (jnp.log(jnp.array(p)) for p in ([[0.3, 0.7], [0.8, 0.2]], [[0.6, 0.4], [0.5, 0.5]]))
    joints = [first[:, None] + second[None, :] for first, second in (cond, uncond)]
    guided = discrete.classifier_free(*(discrete.exact_denoiser(joint, process) for joint in joints), GAMMA)
    found = LAW(process, discrete.Ancestral(), guided, steps=4, length=2)
    assert distance(found, guide_joint(*joints, GAMMA).log_prob) < 1e-5


@pytest.mark.slow
def test_normalised_tokens_are_the_mean_of_sequential_guidance_over_all_orders():
    """So guidance of single tokens differs from that of the joint, as it does for autoregressive models."""
    expected = jnp.zeros((V,) * LENGTH)
    orders = list(itertools.permutations(range(LENGTH)))
    for order in orders:
        guided = guide_sequentially(COND.transpose(order), UNCOND.transpose(order), GAMMA)
        expected = expected + jnp.exp(guided.log_prob).transpose(np.argsort(order)) / len(orders)
    found = jump_law(*both(discrete.absorbing(V)), normalise=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert distance(expected, guide_joint(COND, UNCOND, GAMMA).log_prob) > 0.02


@pytest.mark.slow
def test_guided_samplers_converge_to_their_jump_laws():
    process = discrete.absorbing(V)
    cond, uncond = both(process)
    tokens, rates = (jump_law(cond, uncond, normalise) for normalise in (True, False))
    assert 0.5 * np.abs(tokens - rates).sum() > 0.002  # which token is revealed first matters
    cases = (
        (discrete.Ancestral(), discrete.classifier_free(cond, uncond, GAMMA), tokens),
        (discrete.TauLeaping(), discrete.rate_guidance(cond, uncond, GAMMA), rates),
    )
    for solver, guided, expected in cases:
        errors = [0.5 * np.abs(LAW(process, solver, guided, n, LENGTH) - expected).sum() for n in (32, 64)]
        assert abs(np.log2(errors[0] / errors[1]) - 1.0) < 0.25


@pytest.mark.slow
@pytest.mark.parametrize("noise", MAKE)
def test_the_exact_denoiser_of_a_guided_joint_samples_it(noise):
    """At the order of the sampler, where guided tokens do not."""
    process, joint = MAKE[noise](V), guide_joint(COND, UNCOND, GAMMA).log_prob
    denoiser = discrete.exact_denoiser(joint, process)
    errors = [distance(LAW(process, discrete.Ancestral(), denoiser, n, LENGTH), joint) for n in (32, 64)]
    assert abs(np.log2(errors[0] / errors[1]) - 1.0) < 0.25
    tokens = discrete.classifier_free(*both(process), GAMMA)
    assert errors[-1] < 0.5 * distance(LAW(process, discrete.Ancestral(), tokens, 64, LENGTH), joint)


@pytest.mark.slow
@pytest.mark.parametrize("noise", MAKE)
def test_an_exact_classifier_gives_the_conditional_denoiser_and_rates(noise):
    process = MAKE[noise](V)
    cond, uncond = both(process)
    x, z = states(V, LENGTH), states(process.num_states, LENGTH)

    def log_likelihood(z, t):
        noisy = log_forward(process, x, z[:, None, :], t)
        of = lambda joint: jax.nn.logsumexp(joint.reshape(-1) + noisy, axis=1)
        return of(COND) + LABELS[1] - of(UNCOND)

    guided = discrete.classifier_guidance(uncond, log_likelihood, 1.0)
    row = process.row(jnp.array([0.3, 0.4]))
    found, exact = guided.log_rates(z, row)[1], process.noise.rates(cond(z, 0.4), z, row)[1]
    np.testing.assert_allclose(jnp.exp(found), jnp.exp(exact), rtol=1e-4, atol=1e-5)
    difference = np.abs(jnp.exp(guided(z, 0.4)) - jnp.exp(cond(z, 0.4))).max()
    assert (difference < 1e-5) == (noise == "absorbing")  # a classifier of noisy tokens does not see x0
    strong = discrete.classifier_guidance(uncond, log_likelihood, GAMMA)
    product = discrete.rate_guidance(cond, uncond, GAMMA)
    found, expected = (jnp.exp(each.log_rates(z, row)[1]) for each in (strong, product))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)  # p(y | x)^gamma is that of Bayes' rule
    none = discrete.classifier_guidance(uncond, log_likelihood, 0.0)
    np.testing.assert_allclose(jnp.exp(none(z, 0.4)), jnp.exp(uncond(z, 0.4)), atol=1e-6)


@pytest.mark.slow
def test_scales_per_example_and_of_the_time_and_gradients():
    process = discrete.absorbing(V)
    cond, uncond = both(process)
    z = jnp.full((2, LENGTH), process.mask)
    guide = jax.jit(lambda scale, t: discrete.classifier_free(cond, uncond, scale)(z, t))
    each = guide(jnp.array([0.0, GAMMA]), 0.4)
    np.testing.assert_allclose(each[0], uncond(z, 0.4)[0], atol=1e-6)
    np.testing.assert_allclose(each[1], guide(jnp.array(GAMMA), 0.4)[1], atol=1e-6)
    of_time = discrete.classifier_free(cond, uncond, lambda t: 5.0 * t)
    np.testing.assert_allclose(of_time(z, 0.5), guide(jnp.array(GAMMA), 0.5), atol=1e-6)
    slope = jax.grad(lambda scale: jnp.exp(guide(scale, 0.4))[0, 0, 0])(jnp.array(1.0))
    assert np.isfinite(slope)
    assert slope != 0


@pytest.mark.parametrize("rule", ["classifier_free", "classifier_guidance", "rate_guidance"])
def test_guidance_of_logits_in_the_place_of_denoisers_is_an_error_and_nan_when_compiled(rule):
    """Normalising the result would hide them, with uniform noise without the probability that a token is kept."""
    logits = lambda z, t: jnp.ones((*z.shape, 2))
    parts = (lambda z, t: jnp.zeros(len(z)),) if rule == "classifier_guidance" else (logits,)
    guided, z = getattr(discrete, rule)(logits, *parts, 2.0), jnp.array([[0, 1]])
    with pytest.raises(ValueError, match="must return normalised log-probabilities"):
        guided(z, 0.5)
    assert np.isnan(jax.jit(guided)(z, 0.5)).all()
