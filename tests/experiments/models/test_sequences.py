"""Models of sequences: what a config describes, what it may not, and samples of distributions that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_like
from programs import check_fields_and_relations

from experiments import tasks
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.configs import base
from experiments.configs.sequences import phrases_codes, smoke
from experiments.data.symbols import Coding, Symbols
from experiments.evaluation import sequence_metrics
from experiments.evaluation.sequence_metrics import bits_per_symbol
from experiments.models import sequence_sampling, sequences
from experiments.models.samples import NotFinite
from experiments.models.sequence_sampling import make_sampler, transform_of

DIFFUSION = ["network.name=dit", "network.patch=1"]
MASKED, UNIFORM = ["model=masked", *DIFFUSION], ["model=uniform", *DIFFUSION]


def changed(*overrides):
    config = smoke.get_config()
    for text in overrides:
        override(config, *text.split("=", 1))
    return config


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=masked"], "config.network.name=causal_transformer: must be dit or wavenet for config.model=masked"),
        (["network.name=dit"], "config.network.name=dit: must be causal_transformer or causal_wavenet for"),
        (["network.name=unet"], "config.network.name=unet: must be one of"),
        (["network.channels=8"], "config.network.channels=8: must be left out"),
        (["schedule.name=linear"], "config.schedule.name=linear: must be None for config.model=autoregressive"),
        ([*MASKED, "schedule.name=log_linear", "schedule.alpha_min=0.5"], "config.schedule.alpha_min=0.5: must be in"),
        ([*MASKED, "schedule.name=sigmoid"], "config.schedule.name=sigmoid: must be one of cosine, linear"),
        (["sampling.steps=5"], "config.sampling.steps=5: must be None for config.model=autoregressive"),
        (["sampling.solver.eta=0.5"], "config.sampling.solver.eta=0.5: must be None for config.model=autoregressive"),
        ([*UNIFORM, "sampling.solver.name=remasking"], "config.sampling.solver.name=remasking: must be one without"),
        ([*UNIFORM, "sampling.given=2"], "config.sampling.given=2: must be None for config.model=uniform"),
        ([*MASKED, "sampling.given=2", "sampling.solver.name=remasking"], "config.sampling.given=2: must be None for"),
        ([*MASKED, "sampling.steps=2", "sampling.solver.name=first_hitting"], "config.sampling.steps=2: must be None"),
        (
            ["loss.label_dropout=0", "evaluation.guidance_scales=1,2"],
            "config.evaluation.guidance_scales=2.0: must be 1 for config.loss.label_dropout=0",
        ),
        (["symbols.name=codes"], "config.data.latents=None: must be the folder of an autoencoder with codes"),
        (["data.latents=runs/x"], "config.data.latents=runs/x: must be None without config.symbols.name=codes"),
        (["symbols.name=mu_law", "order.name=subscale"], "config.order.name=subscale: must be raster for symbols.name"),
        (["sampling.nucleus=0"], "config.sampling.nucleus=0.0: must be in (0, 1]"),
    ],
)
def test_an_impossible_combination_names_its_field(overrides, words):
    with pytest.raises(ConfigError) as caught:
        check_fields_and_relations(changed(*overrides))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_representation_that_codes_of_samples_do_not_have_is_an_error():
    config = phrases_codes.get_config()
    tasks.sequence.check(config)
    config.data.representation.name = "compressed"
    with pytest.raises(ConfigError, match=r"config.data.representation.name=compressed: must be None for symbols.name"):
        tasks.sequence.check(config)


def test_the_programs_of_other_models_say_what_this_config_is():
    with pytest.raises(ConfigError, match=r"config.task=sequence: must be diffusion: this program takes"):
        base.check_fields(base.get_config("sequence"))
    with pytest.raises(ConfigError, match=r"config.guidance: config has no field guidance"):
        tasks.sequence.FIELDS.check(base.get_config())


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
    """A config, its data and model, and parameters at random."""
    config = changed(*BUILT[request.param], "network.width=8", "sampling.batch_size=4000")
    dataset = Pairs([[2, 0], [1, 1]], [0, 1])
    model = sequences.build_model(config, dataset)
    shapes = jax.eval_shape(lambda key: sequences.init_params(model, key), jax.random.key(0))
    return config, dataset, model, random_like(shapes, 0.5 if config.model == "autoregressive" else 0.1)


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
    config, dataset, model, params = built
    batch = jax.jit(sequences.make_prepare(model, dataset))(jax.random.key(0), dataset.test)
    value, _ = jax.jit(sequences.make_loss(model))(params, batch)
    assert value.shape == (2,)
    assert np.all(np.isfinite(value))
    if model.process is None:
        expected = [joint(model, params, 0)[2, 0], joint(model, params, 1)[1, 1]]
        np.testing.assert_allclose(value, -np.log(expected) / 2, rtol=1e-5)
    config = config.copy_and_resolve_references()
    config.evaluation.bound_times = 256
    bits = bits_per_symbol(config, model, dataset, params)
    assert (bits.examples, bits.symbols, bits.codes) == (2, 2, 3)
    assert bits.kind == ("exact" if model.process is None else "bound")
    assert 0 < bits.error < 5
    if model.process is None:
        assert bits.total == pytest.approx(float(np.mean(value)) / np.log(2), rel=1e-5)
    else:
        assert bits.total == pytest.approx(np.log2(3), abs=1.0)


@pytest.mark.slow
def test_dropout_is_of_training_alone_and_each_example_has_its_own():
    config = changed("network.width=8", "network.dropout=0.5")
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


def test_the_class_is_dropped_at_the_rate_of_the_config():
    config, dataset = smoke.get_config(), Pairs(np.zeros((1000, 2)), np.arange(1000) % 2)
    prepare = sequences.make_prepare(sequences.build_model(config, dataset), dataset, 0.3)
    found = prepare(jax.random.key(0), dataset.test)["labels"]
    assert abs(np.mean(found == 2) - 0.3) < 0.05
    np.testing.assert_array_equal(found[found < 2], dataset.test["label"][found < 2])


@pytest.mark.slow
def test_samples_have_the_frequencies_of_the_model(built):
    config, dataset, model, params = built
    labels = np.zeros(4000, np.int32)
    generate = make_sampler(config, model, dataset)
    found = shares(generate(params, 0, labels, 1.0))
    if model.process is None:
        np.testing.assert_allclose(found, joint(model, params, 0), atol=0.03)
        again = shares(generate(params, 0, labels, 3.0))
        assert np.abs(again - found).max() > 0.03
    else:  # after one step the symbols are independent
        config = config.copy_and_resolve_references()
        config.sampling.steps = 1
        one = shares(make_sampler(config, model, dataset)(params, 1, labels, 1.0))
        np.testing.assert_allclose(one, np.outer(one.sum(1), one.sum(0)), atol=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("given", [1, 2])
def test_samples_continue_held_out_examples(built, given):
    config, dataset, model, params = built
    config = config.copy_and_resolve_references()
    config.sampling.given = given
    if given == 2:
        with pytest.raises(ConfigError, match=r"config.sampling.given=2: must be below the 2 symbols"):
            make_sampler(config, model, dataset)
    elif config.model != "uniform":
        found = make_sampler(config, model, dataset)(params, 0, np.arange(40) % 2, 1.0)
        np.testing.assert_array_equal(found[:, 0], np.resize([2, 1], 40))
        assert len(np.unique(found[:, 1])) > 1


def test_truncations_are_applied_in_their_order():
    config = changed("sampling.temperature=0.5", "sampling.top_k=2")
    transform = transform_of(config.sampling)
    assert transform is not None
    np.testing.assert_array_equal(transform(jnp.array([0.0, 2.0, 1.0])), [-np.inf, 4.0, 2.0])
    assert transform_of(smoke.get_config().sampling) is None


def test_parameters_that_are_not_finite_draw_nothing(built):
    config, dataset, model, params = built
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), params)
    with pytest.raises(NotFinite, match=f"the parameters of the {config.model} model are not all finite"):
        make_sampler(config, model, dataset)(broken, 0, np.zeros(2, np.int32), 1.0)


def test_outputs_that_are_not_finite_are_no_samples_and_have_no_bits(built):
    """Of parameters that are finite, as after a training that diverged."""
    config, dataset, model, params = built
    diverged = jax.tree.map(lambda leaf: np.full_like(leaf, 1e30), params)
    with pytest.raises(NotFinite, match=f"2 of 2 samples are not finite .guidance scale 1, {config.model}"):
        make_sampler(config, model, dataset)(diverged, 0, np.zeros(2, np.int32), 1.0)
    with pytest.raises(NotFinite, match=f"2 of 2 bits per symbol of test examples are not finite .{config.model}"):
        bits_per_symbol(config, model, dataset, diverged)


def test_an_evaluation_gives_no_test_data_to_the_samples(built):
    config, dataset, model, params = built
    config = config.copy_and_resolve_references()
    config.sampling.given = 1
    with pytest.raises(ConfigError, match=r"config.sampling.given=1: must be None in an evaluation"):
        sequence_metrics.evaluate(config, model, dataset, params, None)  # type: ignore[arg-type]


def test_more_codes_than_there_are_cannot_be_kept(built):
    config, dataset, model, _ = built
    config = config.copy_and_resolve_references()
    config.sampling.top_k = 4
    with pytest.raises(ConfigError, match=r"config.sampling.top_k=4: must be at most the 3 codes"):
        make_sampler(config, model, dataset)


def test_every_solver_of_tokens_is_a_choice():
    names = {solver.replace("_", "") for solver in sequence_sampling.SOLVERS}
    assert names == {"ancestral", "confidenceordered", "firsthitting", "predictorcorrector", "remasking", "tauleaping"}
