"""Particles of the guided joint against joints that are counted out, of Markov chains and of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from token_chains import markov

from scorekit import autoregressive as ar
from scorekit.guidance.sequences import guide_joint
from scorekit.networks import CausalTransformer, CausalWaveNet

LENGTH, V, SCALE = 4, 3, 2.5


PAIR = markov(1), markov(2)
RUN = jax.jit(ar.sample_joint, static_argnums=(2, 3))


def histogram(result):
    """The weighted frequencies of all sequences."""
    codes = jnp.ravel_multi_index(tuple(result.x.T), (V,) * LENGTH, mode="clip")
    return jnp.zeros(V**LENGTH).at[codes].add(jnp.exp(result.log_weights))


def tilted_table(cond, uncond, scale):
    first, second = (ar.log_prob_table(each, LENGTH) for each in (cond, uncond))
    return scale * first + (1 - scale) * second


@jax.jit
def errors(model, exact, threshold):
    found = []
    for particles, runs in ((32, 256), (512, 64)):
        one = lambda key, n=particles: ar.sample_joint(key, model, n, LENGTH, threshold=threshold)
        results = jax.vmap(one)(jax.random.split(jax.random.key(0), runs))
        distance = 0.5 * jnp.abs(jax.vmap(histogram)(results) - jnp.exp(exact)).sum(1)
        normalizers = jnp.exp(results.log_normalizer)
        found.append((distance.mean(), normalizers.mean(), normalizers.std() / runs**0.5))
    return found


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_the_error_falls_as_one_over_the_root_of_the_particles(threshold):
    """With weights alone, with resampling where they are uneven, and with resampling before every code."""
    model = ar.classifier_free(*PAIR, SCALE)
    exact = guide_joint(*(ar.log_prob_table(each, LENGTH) for each in PAIR), SCALE).log_prob.ravel()
    conditionals = jnp.exp(ar.log_prob_table(model, LENGTH)).ravel()
    assert 0.5 * jnp.sum(jnp.abs(conditionals - jnp.exp(exact))) > 0.15  # guidance of the conditionals is not that
    (few, z, z_error), (many, _, _) = errors(model, exact, threshold)
    np.testing.assert_allclose(few / many, 4.0, rtol=0.12)  # the root of 16
    assert abs(z - jnp.exp(jax.nn.logsumexp(tilted_table(*PAIR, SCALE)))) < 4 * z_error  # unbiased with few


def test_a_scale_of_one_has_equal_weights_and_one_particle_samples_the_guided_conditionals():
    result = RUN(jax.random.key(0), ar.classifier_free(*PAIR, 1.0), 64, LENGTH)
    np.testing.assert_allclose(result.ess, 64, rtol=1e-4)
    assert result.ess.shape == (LENGTH + 1,)
    assert not result.resampled.any()
    np.testing.assert_allclose(result.log_normalizer, 0, atol=1e-5)
    model = ar.classifier_free(*PAIR, SCALE)
    single = jax.jit(jax.vmap(lambda key: ar.sample_joint(key, model, 1, LENGTH)))(
        jax.random.split(jax.random.key(1), 500)
    )
    x = single.x[:, 0]
    log_joint = SCALE * ar.log_prob(PAIR[0], x) + (1 - SCALE) * ar.log_prob(PAIR[1], x)
    np.testing.assert_allclose(single.log_normalizer, log_joint - ar.log_prob(model, x), atol=1e-4)


@pytest.mark.parametrize(
    ("network", "seed"),
    [
        (CausalWaveNet(outputs=V, num_codes=V, num_classes=2, channels=4, layers=2, cycle=2), 11),
        pytest.param(
            CausalTransformer(outputs=V, num_codes=V, num_classes=2, depth=1, width=8, heads=2),
            3,
            marks=pytest.mark.slow,
        ),
    ],  # parameters whose later codes depend on the earlier ones
    ids=["wavenet", "transformer"],
)
def test_cached_states_follow_their_particles(network, seed):
    """Resampled before every code, the particles of a network have the joint that is counted from full passes."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, LENGTH), int))
    params = jax.tree.map(lambda s: jnp.asarray(1.4 * rng.normal(size=s.shape), s.dtype), shapes)
    pair = [ar.model_from_network(network, params, ar.Categorical(num_codes=V), labels=y) for y in (1, 2)]

    @jax.jit
    def run(key, pair):
        result = ar.sample_joint(key, ar.classifier_free(*pair, SCALE), 6000, LENGTH, threshold=1.0)
        return histogram(result), jax.nn.softmax(tilted_table(*pair, SCALE).ravel())

    found, exact = run(jax.random.key(0), pair)
    assert 0.5 * jnp.abs(found - exact).sum() < 0.06
    table = exact.reshape(9, 9)
    halves = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    assert 0.5 * jnp.abs(table - halves).sum() > 0.3  # a state of another particle would be another law


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_joint_that_is_not_finite_has_no_samples(threshold):
    """NaN after the code 0, which is drawn in some particles, and codes that are possible for neither model."""
    log = lambda *rows: jnp.log(jnp.array(rows))
    broken = ar.MarkovChain(initial=jnp.zeros(2), transitions=jnp.array([[jnp.nan, 0.0], [0.0, 0.0]]))
    fair = ar.markov_chain(jnp.zeros(2), jnp.zeros((2, 2)))
    never = ar.markov_chain(log(1.0, 0.0), jnp.zeros((2, 2))), ar.markov_chain(log(0.0, 1.0), jnp.zeros((2, 2)))
    for model in (ar.classifier_free(broken, fair, 2.0), ar.classifier_free(*never, 2.0)):
        result = RUN(jax.random.key(0), model, 8, 3, threshold=threshold)
        assert np.isnan(result.log_weights).all()
        assert np.any(result.x == -1)
        assert set(np.unique(result.x)) <= {-1, 0, 1}
        with pytest.raises(ValueError, match="model must be one that gives some sequences a finite log-probability"):
            ar.sample_joint(jax.random.key(0), model, 8, 3, threshold=threshold)
