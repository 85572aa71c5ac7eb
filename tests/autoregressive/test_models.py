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
def test_coarse_to_fine_spectrograms_have_a_density():
    """As MelNet: every second frame first, then the others given those on both sides. It integrates to 1."""
    network = CausalTransformer(outputs=6, depth=1, width=8, heads=2, pattern="strided", window=2, map_size=2)
    family, params = ar.LogisticMixture(components=2), perturbed(network, jnp.zeros((1, 1, 1)), scale=0.3)

    @jax.jit
    def log_density(spectrogram):
        batch, _, bands = spectrogram.shape
        flat = lambda y: y.reshape(batch, -1, 1)  # along time, then along frequency
        coarse, fine = spectrogram[:, ::2], spectrogram[:, 1::2]
        after = jnp.concatenate([coarse[:, 1:], jnp.zeros((batch, 1, bands))], axis=1)
        around = jnp.concatenate([flat(coarse), flat(after)], axis=-1)
        first = ar.model_from_network(network, params, family)
        second = ar.model_from_network(network, params, family, dense_map=around)
        return ar.log_prob(first, flat(coarse)) + ar.log_prob(second, flat(fine))

    axis = np.linspace(-12.0, 12.0, 161, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2, 1)  # two frames of one band
    p = np.exp(log_density(jnp.asarray(grid))).reshape(161, 161)
    assert abs(p.sum() * (24 / 160) ** 2 - 1) < 5e-3
    independent = p.sum(0, keepdims=True) * p.sum(1, keepdims=True) / p.sum()
    assert np.abs(p - independent).max() > 0.01 * p.max()

    @jax.jit
    def draw(key):
        for_coarse, for_fine = jax.random.split(key)
        coarse = ar.sample(for_coarse, ar.model_from_network(network, params, family), 20_000, 1)
        around = jnp.concatenate([coarse, jnp.zeros_like(coarse)], axis=-1)
        second = ar.model_from_network(network, params, family, dense_map=around)
        return jnp.concatenate([coarse, ar.sample(for_fine, second, 20_000, 1)], axis=1)[..., 0]

    edges = axis[67:95:5] + 0.075  # half-way between the points of the grid
    found = np.histogram2d(*np.asarray(draw(jax.random.key(0))).T, bins=[[-99, *edges, 99]] * 2)[0] / 20_000
    bins = np.digitize(axis, edges)
    p = p.reshape(161, 161).T / p.sum()  # the first axis is now that of the coarse frame
    expected = np.zeros((7, 7))
    np.add.at(expected, np.ix_(bins, bins), p)
    assert 0.5 * np.abs(found - expected).sum() < 0.04
    product = expected.sum(1, keepdims=True) * expected.sum(0, keepdims=True)
    assert 0.5 * np.abs(found - product).sum() > 0.06  # the fine frame is drawn given the coarse one


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
