"""Networks as models: cached sampling, conditions, tiers of rates, coarse to fine, training on noisy sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import autoregressive as ar
from scorekit import denoisers, schedules
from scorekit.networks import CausalWaveNet, TieredNetwork

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)
CODES, BATCH, LENGTH = 5, 2, 12
ONE = {"channels": 4, "layers": 1, "cycle": 1}


def three_tiers():
    """As SampleRNN: frames of 6 inputs, frames of 2, inputs."""
    middle = CausalWaveNet(outputs=2 * 3, map_size=4, **ONE)
    lower = CausalWaveNet(outputs=CODES, num_codes=CODES, map_size=3, **ONE)
    upper = CausalWaveNet(outputs=6 * 4, **ONE)
    return TieredNetwork(upper=upper, lower=TieredNetwork(upper=middle, lower=lower, factor=2), factor=6)


def perturbed(network, *inputs, scale=1.0):
    shapes = jax.eval_shape(network.init, KEY, *inputs)
    rng = np.random.default_rng(1)  # the same whichever tests ran before
    return jax.tree.map(lambda s: jnp.asarray(scale * rng.normal(size=s.shape), s.dtype), shapes)


CASES = {
    "wavenet with a map": CausalWaveNet(outputs=CODES, num_codes=CODES, map_size=2, num_classes=3, **ONE),
    "three tiers": three_tiers(),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_most_probable_sequence_is_that_of_all_outputs_at_once(name):
    """Sampled from cached states with the most probable code at each position: each is the best given those before."""
    network = CASES[name]
    x = jnp.zeros((BATCH, LENGTH), int)
    dense_map = jnp.asarray(RNG.normal(size=(BATCH, LENGTH, 2)), jnp.float32) if network.map_size else None
    labels = jnp.array([2, 0]) if dense_map is not None else None
    params, family = perturbed(network, x), ar.Categorical(num_codes=CODES)
    model = ar.model_from_network(network, params, family, labels=labels, dense_map=dense_map)

    @jax.jit
    def run(model, prefix):
        x = ar.sample(
            jax.random.key(1), model, BATCH, LENGTH, prefix=prefix, transform=lambda logits: ar.top_k(logits, 1)
        )
        return x, model.outputs(x)

    prefix = jnp.array([[4, 1, 3], [0, 2, 2]])
    x, outputs = run(model, prefix)
    assert len(np.unique(np.asarray(x))) > 1
    np.testing.assert_array_equal(x[:, :3], prefix)
    np.testing.assert_array_equal(x[:, 3:], jnp.argmax(outputs, axis=-1)[:, 3:])


@pytest.mark.slow
def test_a_network_of_noisy_sequences_is_a_diffusion_model():
    """Its loss is the likelihood at the drawn noise levels, and its score the gradient of an explicit density."""
    schedule, family = schedules.Cosine(), ar.Normal()
    network = CausalWaveNet(outputs=2, **ONE)
    x0 = jnp.asarray(RNG.normal(size=(3, 6, 1)), jnp.float32)
    params = perturbed(network, x0, scale=0.3)
    model_at = ar.condition_on_noise(ar.model_from_network(network, params, family), schedule)

    @jax.jit
    def run(model_at, x):
        loss = ar.smoothed_loss(jax.random.key(1), model_at, schedule, x)
        log_density = ar.smoothed_log_density(model_at)
        score = -denoisers.denoiser_from_log_density(log_density, schedule)(x, 0.5).eps / schedule.sigma(0.5)
        direction = jnp.zeros_like(x).at[:, 3].set(1e-2)
        slope = (log_density(x + direction, 0.5) - log_density(x - direction, 0.5)) / 2e-2
        return loss, score[:, 3, 0], slope, log_density(x, jnp.array([0.1, 0.5, 0.9])), log_density(x, 0.5)

    loss, score, slope, at_each, at_one = run(model_at, x0)
    assert loss.shape == (3,)
    assert np.isfinite(loss).all()
    np.testing.assert_allclose(score, slope, rtol=2e-2, atol=1e-2)
    np.testing.assert_allclose(at_each[1], at_one[1], rtol=1e-5)
    assert abs(float(at_each[0] - at_one[0])) > 1e-3, "the noise level matters"


CHAIN = ar.markov_chain(jnp.zeros(4), jnp.zeros((4, 4)))


@pytest.mark.parametrize("code", [-1, 4, 7])
def test_a_traced_prefix_out_of_range_leaves_no_codes_from_there(code):
    run = jax.jit(lambda prefix: ar.sample(KEY, CHAIN, 1, 4, prefix=prefix))
    assert run(jnp.array([[2, code]])).tolist() == [[2, -1, -1, -1]]
