"""Models of sequences: what a config describes, what it may not, and samples of distributions that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_configs
from parameters import random_like
from programs import changed, error_of

from experiments.data.symbols import Coding, Symbols
from experiments.models.samples import NotFinite
from experiments.tasks.sequences import metrics
from experiments.tasks.sequences import model as sequences
from experiments.tasks.sequences.metrics import bits_per_symbol
from experiments.tasks.sequences.sampling import make_sampler, transform_of
from experiments.tasks.task import Run

DIFFUSION = ["network.name=dit", "network.patch=1"]
MASKED, UNIFORM = ["model=masked", *DIFFUSION], ["model=uniform", *DIFFUSION]


class Pairs(Symbols):
    """Sequences of two codes of 2 x 1 positions and their classes; decoding leaves them as they are."""

    def __init__(self, x, label, num_codes=3):
        self._order = self._back = np.arange(2)
        self.coding = Coding(num_codes, (2, 1), jnp.asarray, lambda codes: codes[..., 0], exact=True)
        self.name, self.num_classes, self.shape, self.bins = "pairs", 2, (2,), num_codes
        self.test = {"x": np.asarray(x, np.int32), "label": np.asarray(label, np.int32)}


BUILT = {"autoregressive": [], "masked": MASKED, "uniform": UNIFORM}


@pytest.fixture(scope="module", params=BUILT)
def built(request):
    """A config, its data and model, parameters at random, and the sampler of batches of 4000."""
    config = changed(small_configs.sequence(), *BUILT[request.param], "network.width=8", "sampling.batch_size=4000")
    dataset = Pairs([[2, 0], [1, 1]], [0, 1])
    model = sequences.build_model(config, dataset)
    shapes = jax.eval_shape(lambda key: sequences.init_params(model, key), jax.random.key(0))
    params = random_like(shapes, 0.5 if config.model == "autoregressive" else 0.1)
    return config, dataset, model, params, make_sampler(config, model, dataset)


def joint(model, params, labels):
    """The probabilities of all pairs under an autoregressive model."""
    pairs = jnp.stack(jnp.unravel_index(jnp.arange(9), (3, 3)), axis=-1)
    conditionals = sequences.conditionals(model, params, jnp.full(9, labels))
    log_p = jax.nn.log_softmax(conditionals.outputs(pairs))
    return jnp.exp(jnp.take_along_axis(log_p, pairs[..., None], -1)[..., 0].sum(-1)).reshape(3, 3)


def shares(samples):
    return np.bincount(3 * samples[:, 0] + samples[:, 1], minlength=9).reshape(3, 3) / len(samples)


@pytest.mark.slow
def test_training_and_bits_take_sequences_of_any_model(built):
    config, dataset, model, params, _ = built
    batch = jax.jit(sequences.make_prepare(model, dataset))(jax.random.key(0), dataset.test)
    value, _ = jax.jit(sequences.make_loss(model))(params, batch)
    assert value.shape == (2,)
    assert np.all(np.isfinite(value))
    if model.process is None:
        expected = [joint(model, params, 0)[2, 0], joint(model, params, 1)[1, 1]]
        np.testing.assert_allclose(value, -np.log(expected) / 2, rtol=1e-5)
    bits = bits_per_symbol(changed(config, "evaluation.bound_times=256"), model, dataset, params)
    assert (bits.examples, bits.symbols, bits.codes) == (2, 2, 3)
    assert bits.kind == ("exact" if model.process is None else "bound")
    assert 0 < bits.error < 5
    if model.process is None:
        assert bits.total == pytest.approx(float(np.mean(value)) / np.log(2), rel=1e-5)
    else:
        assert bits.total == pytest.approx(np.log2(3), abs=1.0)


@pytest.mark.slow
def test_dropout_is_of_training_alone_and_each_example_has_its_own():
    config = changed(small_configs.sequence(), "network.width=8", "network.dropout=0.5")
    dataset = Pairs([[2, 0], [1, 1], [2, 0], [2, 0]], [0, 1, 0, 0])
    model = sequences.build_model(config, dataset)
    shapes = jax.eval_shape(lambda key: sequences.init_params(model, key), jax.random.key(0))
    params, loss = random_like(shapes, 0.5), jax.jit(sequences.make_loss(model))
    batch = jax.jit(sequences.make_prepare(model, dataset))(jax.random.key(0), dataset.test)
    held_out, _ = loss(params, batch)
    np.testing.assert_allclose(held_out[0], -np.log(joint(model, params, 0)[2, 0]) / 2, rtol=1e-5)
    training = jax.jit(sequences.make_prepare(model, dataset, 0.0))(jax.random.key(0), dataset.test)
    trained, _ = loss(params, training)
    assert len({float(value) for value in trained[jnp.array([0, 2, 3])]}) == 3
    seeds = training["dropout"]
    other, _ = loss(params, {**training, "dropout": seeds.at[1].set(seeds[0])})
    np.testing.assert_array_equal(other[jnp.array([0, 2, 3])], trained[jnp.array([0, 2, 3])])
    assert other[1] != trained[1]


@pytest.mark.slow
def test_samples_have_the_frequencies_of_the_model(built):
    config, dataset, model, params, generate = built
    labels = np.zeros(4000, np.int32)
    found = shares(generate(params, 0, labels, 1.0))
    if model.process is None:
        np.testing.assert_allclose(found, joint(model, params, 0), atol=0.03)
        again = shares(generate(params, 0, labels, 3.0))
        assert np.abs(again - found).max() > 0.03
    else:  # after one step the symbols are independent
        few = changed(config, "sampling.steps=1")
        one = shares(make_sampler(few, model, dataset)(params, 1, labels, 1.0))
        np.testing.assert_allclose(one, np.outer(one.sum(1), one.sum(0)), atol=0.03)


def test_symbols_are_given_of_held_out_examples(built):
    config, dataset, model, params, _ = built
    given = changed(config, "sampling.given=1")
    if config.model != "uniform":
        drawn = make_sampler(given, model, dataset)(params, 0, np.arange(40) % 2, 1.0)
        np.testing.assert_array_equal(drawn[:, 0], np.resize([2, 1], 40))
        assert len(np.unique(drawn[:, 1])) > 1
    words = "config.sampling.given=1: must be None in an evaluation"
    assert words in error_of(metrics.evaluate, given, Run(dataset, model, None, params, 0))
    for field, words in (("given=2", "must be below the 2 symbols"), ("top_k=4", "must be at most the 3 codes")):
        message = error_of(make_sampler, changed(config, f"sampling.{field}"), model, dataset)
        assert f"config.sampling.{field}: {words}" in message


def test_truncations_are_applied_in_their_order():
    config = changed(small_configs.sequence(), "sampling.temperature=0.5", "sampling.top_k=2")
    transform = transform_of(config.sampling)
    assert transform is not None
    np.testing.assert_array_equal(transform(jnp.array([0.0, 2.0, 1.0])), [-np.inf, 4.0, 2.0])
    assert transform_of(small_configs.sequence().sampling) is None


@pytest.mark.slow
def test_what_is_not_finite_is_no_sample_and_has_no_bits(built):
    config, dataset, model, params, generate = built
    draw = lambda params: generate(params, 0, np.zeros(4000, np.int32), 1.0)
    with pytest.raises(NotFinite, match=f"the parameters of the {config.model} model are not all finite"):
        draw(jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), params))
    diverged = jax.tree.map(lambda leaf: np.full_like(leaf, 1e30), params)
    with pytest.raises(NotFinite, match=f"4000 of 4000 samples are not finite .guidance scale 1, {config.model}"):
        draw(diverged)
    with pytest.raises(NotFinite, match=f"2 of 2 bits per symbol of test examples are not finite .{config.model}"):
        bits_per_symbol(config, model, dataset, diverged)
