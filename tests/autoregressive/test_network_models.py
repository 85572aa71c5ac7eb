"""Networks as models: cached sampling, conditions, tiers of rates, coarse to fine, training on noisy sequences."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import autoregressive as ar
from scorekit import denoisers, schedules
from scorekit.networks import CausalTransformer, CausalWaveNet, TieredNetwork

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
    return jax.tree.map(lambda s: jnp.asarray(scale * RNG.normal(size=s.shape), s.dtype), shapes)


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
def test_three_tiers_are_causal():
    network = CASES["three tiers"]
    x = RNG.integers(0, CODES, (1, LENGTH))
    apply = jax.jit(functools.partial(network.apply, perturbed(network, jnp.asarray(x))))
    plain = np.asarray(apply(jnp.asarray(x)))
    for j in range(LENGTH):
        changed = np.asarray(apply(jnp.asarray(np.where(np.arange(LENGTH) == j, (x + 1) % CODES, x))))
        assert np.array_equal(changed[:, : j + 1], plain[:, : j + 1]), j
        assert j == LENGTH - 1 or not np.array_equal(changed[:, j + 1 :], plain[:, j + 1 :]), j
    far = np.asarray(apply(jnp.asarray(np.where(np.arange(LENGTH) == 0, (x + 1) % CODES, x))))
    assert not np.array_equal(far[:, 6:], plain[:, 6:]), "the upper tier reaches the next frame"


@pytest.mark.slow
def test_coarse_to_fine_spectrograms_have_the_sum_of_the_likelihoods():
    """As MelNet: every second frame first, then the others given those on both sides, each along time and frequency."""
    frames, bands = 4, 3
    network = CausalTransformer(
        outputs=6, depth=1, width=8, heads=2, pattern="strided", window=bands, map_size=2
    )  # a row of the pattern is a frame
    family, flat = ar.LogisticMixture(components=2), lambda y: y.reshape(1, -1, 1)
    params = perturbed(network, jnp.zeros((1, frames // 2 * bands, 1)), scale=0.3)

    @jax.jit
    def log_density(spectrogram):
        coarse, fine = spectrogram[:, ::2], spectrogram[:, 1::2]
        after = jnp.concatenate([coarse[:, 1:], coarse[:, -1:]], axis=1)
        around = jnp.concatenate([flat(coarse), flat(after)], axis=-1)
        first = ar.model_from_network(network, params, family)
        second = ar.model_from_network(network, params, family, dense_map=around)
        return ar.log_prob(first, flat(coarse)) + ar.log_prob(second, flat(fine))

    x = jnp.asarray(RNG.normal(size=(1, frames, bands)), jnp.float32)
    axis = jnp.linspace(-9.0, 9.0, 301)
    along = jax.vmap(lambda value: log_density(x.at[0, 3, 2].set(value)))(axis)[:, 0]  # the last value of all
    marginal = jax.nn.logsumexp(along) + jnp.log(axis[1] - axis[0])
    last = family.log_prob  # its conditional is normalised: the rest does not depend on it
    assert last is not None
    other = jax.vmap(lambda value: log_density(x.at[0, 3, 2].set(value)))(axis + 0.01)[:, 0]
    np.testing.assert_allclose(jax.nn.logsumexp(other) + jnp.log(axis[1] - axis[0]), marginal, atol=1e-2)
    first = jax.grad(lambda x: log_density(x)[0])(x)
    assert np.isfinite(first).all() and np.all(np.asarray(first) != 0)
