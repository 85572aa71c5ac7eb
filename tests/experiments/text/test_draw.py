"""A cascade from captions and from classes, end to end, with the states of captions given in a file."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from picture_runs import transformer
from PIL import Image
from programs import run, save_run

from experiments import data
from experiments.configs.images import smoke as classes
from experiments.data.images import Images
from experiments.models.conditioning import dropout_rates
from experiments.models.guidance import PROMPTS, Prompts, make_guided
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import build_model
from scorekit.networks import Masked

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small(runs):
    """A model of captions, with random parameters and conditions of two pictures."""
    config = transformer(runs.config())
    config.sampling.guidance_scale = 2.0
    model = build_model(config, data.load(config))
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    words = lambda k: {
        "tokens": Masked(jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32), jnp.ones((2, 3), bool)),
        "vector": Masked(jnp.full((2, 6), 0.1 * k), jnp.ones(2, bool)),
    }
    return config, model, params, [words(k) for k in range(3)]


@pytest.mark.slow
def test_captions_with_weights_and_a_negative_one_are_the_linear_combination(small):
    config, model, params, words = small
    labels, x = np.zeros(2, np.int32), jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
    guided = make_guided(config, model)
    run_at = jax.jit(lambda given, scale: guided(params, given, scale)(x, jnp.full(2, 0.5)).x0)
    alone = jax.jit(lambda given: guided(params, given, None)(x, jnp.full(2, 0.5)).x0)
    c0, c1, negative = (np.asarray(alone({"labels": labels, **w})) for w in words)
    null = np.asarray(run_at({"labels": labels, **words[0]}, jnp.float32(0.0)))
    weights = np.array([[1.5, 0.5], [1.0, -0.3]], np.float32)
    given = {"labels": labels, **words[0]}
    w0, w1 = (weights[:, k, None, None, None] for k in range(2))
    for base, last in ((null, None), (negative, words[2])):
        found = run_at({**given, PROMPTS: Prompts((words[1],), weights, last)}, jnp.float32(2.0))
        expected = base + 2.0 * (w0 * (c0 - base) + w1 * (c1 - base))
        np.testing.assert_allclose(found, expected, atol=2e-4)
    assert np.abs(c0 - null).max() > 1e-2
    found = run_at({**given, PROMPTS: Prompts((), None, words[2])}, jnp.float32(2.0))
    np.testing.assert_allclose(found, 2.0 * c0 - negative, atol=2e-4)


def apg(c, u):
    """Without what is parallel to the conditional estimate."""
    flat = lambda x: x.reshape(len(x), -1)
    d, along = flat(c - u), flat(c)
    d = d - along * (d * along).sum(1, keepdims=True) / np.square(along).sum(1, keepdims=True)
    return c + d.reshape(c.shape)


def rescaled(c, u):
    """Half of the way to the standard deviation of the conditional estimate."""
    g, std = 2.0 * c - u, lambda x: x.std((1, 2, 3), keepdims=True)
    return 0.5 * g * std(c) / std(g) + 0.5 * g


RULES = {
    "apg": (("apg",), {}, apg),
    "rescale": (("classifier_free", "rescale"), {"rescale.factor": 0.5}, rescaled),
    "interval": (("classifier_free", "interval"), {"interval.noise_min": 0.9}, lambda c, u: 2.0 * c - u),
    "outside": (("classifier_free", "interval"), {"interval.noise_max": 0.9}, lambda c, u: c),
}
"""Rules, their fields, and the result of the two branches at γ = 2 and σ/α = 1."""


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
def test_rules_are_built_on_the_composition_and_the_negative_caption(small, name):
    config, model, params, words = small
    rules, fields, expected = RULES[name]
    labels, x, t = np.zeros(2, np.int32), jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32), jnp.full(2, 0.5)
    plain = make_guided(config, model)
    alone = jax.jit(lambda given: plain(params, given, None)(x, t).x0)
    c0, c1, negative = (np.asarray(alone({"labels": labels, **w})) for w in words)
    config = config.copy_and_resolve_references()
    config.guidance = rules
    config.rules.update_from_flattened_dict(fields)
    weights = np.array([[1.5, 0.5], [1.0, -0.3]], np.float32)
    given = {"labels": labels, **words[0], PROMPTS: Prompts((words[1],), weights, words[2])}
    guided = make_guided(config, model)
    found = np.asarray(jax.jit(lambda given, scale: guided(params, given, scale)(x, t).x0)(given, jnp.float32(2.0)))
    w0, w1 = (weights[:, k, None, None, None] for k in range(2))
    composed = negative + w0 * (c0 - negative) + w1 * (c1 - negative)
    np.testing.assert_allclose(found, expected(composed, negative), atol=2e-4)
    assert np.abs(found - c0).max() > 1e-2


@pytest.mark.slow
def test_masked_tokens_have_no_influence_and_dropped_ones_are_the_null_token(small):
    config, model, params, words = small
    labels, x = np.zeros(2, np.int32), jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
    guided = make_guided(config, model)
    given = {"labels": labels, "vector": words[0]["vector"]}
    apply = jax.jit(lambda tokens: guided(params, {**given, "tokens": tokens}, None)(x, jnp.full(2, 0.5)).x0)
    value, half = words[0]["tokens"].value, jnp.asarray([[True, True, False]] * 2)
    one, other = (np.asarray(apply(Masked(v, half))) for v in (value, value.at[:, 2].set(9.0)))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - apply(Masked(value, jnp.ones((2, 3), bool)))).max() > 1e-3
    none = apply(Masked(value, jnp.zeros((2, 3), bool)))
    np.testing.assert_allclose(none, apply(Masked(jnp.zeros((2, 3, 6)), jnp.zeros((2, 3), bool))), atol=1e-6)


def trained(folder, config):
    """A run of one step of gradient descent."""
    dataset = data.load(config)
    model = build_model(config, dataset)
    prepare, loss = make_prepare(model, dataset, dropout_rates(config), 0.0, 0.5), make_loss(model)
    mean = lambda params, batch: loss(params, prepare(jax.random.key(0), batch))[0].mean()
    params = jax.tree.map(jnp.asarray, random_params(model, 0.02))
    value, gradient = jax.jit(jax.value_and_grad(mean))(params, dataset.batch(0, 0, 8))
    assert np.isfinite(value)
    of_tokens = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if "'tokens'" in str(path)]
    assert all(np.abs(leaf).max() > 0 for leaf in of_tokens)  # the null token too: half of the captions are dropped
    assert len(of_tokens) > 3
    params = jax.tree.map(lambda leaf, slope: leaf - 0.01 * slope, params, gradient)
    return save_run(folder, config, params, 2)


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, None])
def test_the_unconditional_branch_keeps_the_map_if_it_is_told_to(keep):
    config = transformer(classes.get_config())
    config.data.map.name, config.sampling.keep_map = "average_pool", keep
    dataset = data.load(config)
    model = build_model(config, dataset)
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    guided = make_guided(config, model)
    labels, x = np.zeros(2, np.int32), jnp.asarray(RNG.normal(size=(2, 8, 8, 1)), jnp.float32)

    @jax.jit
    def unconditional(dense_map):
        given = {"labels": labels, "dense_map": Masked(dense_map, jnp.ones(2, bool))}
        return guided(params, given, jnp.float32(0.0))(x, jnp.full(2, 0.5)).x0

    one, other = (np.asarray(unconditional(jnp.full((2, 4, 4, 1), value))) for value in (-1.0, 1.0))
    assert (np.abs(one - other).max() > 1e-3) == bool(keep)


@pytest.mark.slow
def test_train_and_draw(runs, tmp_path, monkeypatch):
    """Trains a transformer for a step, and draws full pictures from a second stage that was trained on crops."""
    monkeypatch.setattr(Images, "credit", "Pictures by A, CC-BY 4.0")
    trained(tmp_path / "low", transformer(runs.config()))
    names, out = f"--stages={tmp_path / 'low'},{runs('crops')}", tmp_path / "drawn"
    captions = ("--caption=a red square:1.5 + a green square:0.5", "--caption=a blue square")
    code, text, err = run("text.draw", names, *captions, "--negative=a green square", "--num=2", "--map_noise=0.2",
                         "--config.guidance=classifier_free,dynamic_threshold", f"--out={out}")  # fmt: skip
    assert code == 0, err
    found = np.load(f"{out}.npz")
    assert found["x"].shape == (4, 16, 16, 3)
    assert found["stage_0"].shape == (4, 8, 8, 3)
    assert found["caption"].tolist() == [text.removeprefix("--caption=") for text in captions for _ in range(2)]
    assert "noise 0.2" in text
    assert "drawn.png, " in text.splitlines()[-1]
    page = Path(f"{out}.html").read_text()
    assert "a green square" in page, "the negative caption"
    assert "<p>Data: Pictures by A, CC-BY 4.0.</p>" in page
    with Image.open(f"{out}.png") as picture:
        assert picture.width > 500


@pytest.mark.slow
def test_classes_through_a_cascade(runs, tmp_path):
    code, _, err = run("text.draw", f"--stages={runs('digits_4')},{runs('digits_8')}", "--labels=3,1", "--num=2",
                         f"--out={tmp_path / 'digits'}")  # fmt: skip
    assert code == 0, err
    found = np.load(tmp_path / "digits.npz")
    assert found["x"].shape == (4, 8, 8, 1)
    assert found["label"].tolist() == [3, 3, 1, 1]
    assert found["caption"].tolist() == ["class 3", "class 3", "class 1", "class 1"]


@pytest.mark.slow
def test_models_of_latents_draw_pictures_alone_and_before_a_stage_that_enlarges(runs, tmp_path):
    flags = ("--labels=3,1", "--num=2", "--overwrite", f"--out={tmp_path / 'digits'}")
    code, _, err = run("text.draw", f"--stages={runs('latent_digits')}", *flags)
    assert code == 0, err
    found = np.load(tmp_path / "digits.npz")["x"]
    assert found.shape == (4, 8, 8, 1)
    values = (found + 1) * 8
    np.testing.assert_allclose(values, values.round(), atol=1e-5, err_msg="decoded pixels have the 17 values of digits")
    flags = ("--caption=a red square", "--num=2", "--overwrite", f"--out={tmp_path / 'squares'}")
    code, _, err = run("text.draw", f"--stages={runs('latent_captions')},{runs('high')}", *flags)
    assert code == 0, err
    found = np.load(tmp_path / "squares.npz")
    assert (found["stage_0"].shape, found["x"].shape) == ((2, 8, 8, 3), (2, 16, 16, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "flags", "message"),
    [
        ("digits_4,digits_8", ["--caption=a cat"], "digits_4 has no captions, it is conditioned on its class alone"),
        ("low,from_4", ["--caption=a red square"], "from_4 enlarges pictures of 4 x 4 pixels and 3 channels, "),
        ("low,digits_8", ["--caption=a red square"], "low, config.data.name=folder; it has sklearn_digits"),
        ("low,latent_upper", ["--caption=a red square"], "latent_upper must enlarge pictures themselves"),
        ("low,low", ["--caption=a red square"], "low must enlarge pictures, by config.data.map.name=average_pool"),
        ("high", ["--caption=a red square"], "high must draw without a picture to enlarge as the first stage"),
        ("low", ["--caption="], "--caption=: must hold text"),
        ("low", ["--caption=a dog"], "has no caption 'a dog'"),
        ("low", [], "--caption=… must be given"),
        ("low", ["--caption=a red square", "--style=noto"], "--style=noto: must be one of the styles of pictures"),
        ("low,high", ["--caption=a red square", "--map_noise=0.9"], "sampling.map_noise=0.9: must be from 0 to"),
        ("low", ["--caption=a red square", "--scales=1,2"], "--scales=1,2: must be 1 numbers"),
        ("digits_4", ["--labels=1", "--negative=a cat"], "--negative=a cat: must be left out without --caption"),
        ("low", ["--coordinator=here:1"], "--coordinator: must be left out, this program runs in one process"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(runs, names, flags, message):
    code, _, err = run("text.draw", f"--stages={','.join(str(runs(name)) for name in names.split(','))}", *flags)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
