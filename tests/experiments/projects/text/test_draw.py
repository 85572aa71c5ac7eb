"""Cascades from captions and from classes, end to end, with the states of captions given in a file."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from picture_runs import transformer, upper
from PIL import Image
from programs import succeeds

from experiments import data
from experiments.cli.config import save_resolved
from experiments.configs.images import smoke as classes
from experiments.configs.text import smoke_decoder
from experiments.data.images import ImageSet
from experiments.tasks.diffusion.build import build_model, build_rules, dropout_rates
from experiments.tasks.diffusion.guidance import PROMPTS, Prompts, make_guided
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from scorekit.networks import Masked
from scorekit.training import restore_extra

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def small(runs):
    """A model of captions, with random parameters, conditions of two pictures, and the estimates of three captions."""
    config = transformer(runs.config())
    config.sampling.guidance_scale = 2.0
    model = build_model(config, data.build(config))
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    x = jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
    words = lambda k: {
        "labels": np.zeros(2, np.int32),
        "tokens": Masked(jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32), jnp.ones((2, 3), bool)),
        "vector": Masked(jnp.full((2, 6), 0.1 * k), jnp.ones(2, bool)),
    }

    def estimate(config):
        guided = make_guided(build_rules(config), model)
        return jax.jit(lambda given, scale: guided(params, given, scale)(x, jnp.full(2, 0.5)).x0)

    words = [words(k) for k in range(3)]
    return config, estimate, words, [np.asarray(estimate(config)(each, None)) for each in words]


WEIGHTS = np.array([[1.5, 0.5], [1.0, -0.3]], np.float32)


def composed(base, c0, c1, scale=1.0):
    w0, w1 = (WEIGHTS[:, k, None, None, None] for k in range(2))
    return base + scale * (w0 * (c0 - base) + w1 * (c1 - base))


@pytest.mark.slow
def test_captions_with_weights_and_a_negative_one_are_the_linear_combination(small):
    config, estimate, words, (c0, c1, negative) = small
    run_at = estimate(config)
    null = np.asarray(run_at(words[0], jnp.float32(0.0)))
    for base, last in ((null, None), (negative, words[2])):
        found = run_at({**words[0], PROMPTS: Prompts((words[1],), WEIGHTS, last)}, jnp.float32(2.0))
        np.testing.assert_allclose(found, composed(base, c0, c1, 2.0), atol=2e-4)
    assert np.abs(c0 - null).max() > 1e-2
    found = run_at({**words[0], PROMPTS: Prompts((), None, words[2])}, jnp.float32(2.0))
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
    config, estimate, words, (c0, c1, negative) = small
    rules, fields, expected = RULES[name]
    config = config.copy_and_resolve_references()
    config.guidance = rules
    config.rules.update_from_flattened_dict(fields)
    given = {**words[0], PROMPTS: Prompts((words[1],), WEIGHTS, words[2])}
    found = np.asarray(estimate(config)(given, jnp.float32(2.0)))
    np.testing.assert_allclose(found, expected(composed(negative, c0, c1), negative), atol=2e-4)
    assert np.abs(found - c0).max() > 1e-2


@pytest.mark.slow
def test_masked_tokens_have_no_influence_and_dropped_ones_are_the_null_token(small):
    config, estimate, words, (full, *_) = small
    run_at = estimate(config)
    apply = lambda value, mask: np.asarray(run_at({**words[0], "tokens": Masked(value, mask)}, None))
    value, half, none = words[0]["tokens"].value, jnp.asarray([[True, True, False]] * 2), jnp.zeros((2, 3), bool)
    one, other = (apply(v, half) for v in (value, value.at[:, 2].set(9.0)))
    np.testing.assert_array_equal(one, other)
    assert np.abs(one - full).max() > 1e-3
    np.testing.assert_allclose(apply(value, none), apply(jnp.zeros((2, 3, 6)), none), atol=1e-6)


@pytest.mark.slow
def test_all_parameters_of_tokens_have_gradients(runs):
    config = transformer(runs.config())
    dataset = data.build(config)
    model = build_model(config, dataset)
    prepare, loss = make_prepare(model, dataset, dropout_rates(config), 0.0, 0.5), make_loss(model)
    mean = lambda params, batch: loss(params, prepare(jax.random.key(0), batch))[0].mean()
    params = jax.tree.map(jnp.asarray, random_params(model, 0.02))
    value, gradient = jax.jit(jax.value_and_grad(mean))(params, dataset.batch(0, 0, 8))
    assert np.isfinite(value)
    of_tokens = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if "'tokens'" in str(path)]
    assert all(np.abs(leaf).max() > 0 for leaf in of_tokens)  # the null token too: half of the captions are dropped
    assert len(of_tokens) > 3


@pytest.mark.slow
@pytest.mark.parametrize("keep", [True, None])
def test_the_unconditional_branch_keeps_the_map_if_it_is_told_to(keep):
    config = transformer(classes.get_config())
    config.conditions.map.name, config.sampling.keep_map = "average_pool", keep
    dataset = data.build(config)
    model = build_model(config, dataset)
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    guided = make_guided(build_rules(config), model)
    labels, x = np.zeros(2, np.int32), jnp.asarray(RNG.normal(size=(2, 8, 8, 1)), jnp.float32)

    @jax.jit
    def unconditional(dense_map):
        given = {"labels": labels, "dense_map": Masked(dense_map, jnp.ones(2, bool))}
        return guided(params, given, jnp.float32(0.0))(x, jnp.full(2, 0.5)).x0

    one, other = (np.asarray(unconditional(jnp.full((2, 4, 4, 1), value))) for value in (-1.0, 1.0))
    assert (np.abs(one - other).max() > 1e-3) == bool(keep)


@pytest.mark.slow
def test_captions_through_a_cascade(runs, tmp_path, monkeypatch):
    """Full pictures from a second stage that was trained on crops."""
    monkeypatch.setattr(ImageSet, "credit", "Pictures by A, CC-BY 4.0")
    names, out = f"--stages={runs('low')},{runs('crops')}", tmp_path / "drawn"
    captions = ("--caption=a red square:1.5 + a green square:0.5", "--caption=a blue square")
    text = succeeds(
        "projects.text.draw",
        names,
        *captions,
        "--negative=a green square",
        "--num=2",
        "--map_noise=0.2",
        "--config.guidance=classifier_free,dynamic_threshold",
        f"--out={out}",
    )
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
    succeeds(
        "projects.text.draw",
        f"--stages={runs('digits_4')},{runs('digits_8')}",
        "--labels=3,1",
        "--num=2",
        f"--out={tmp_path / 'digits'}",
    )
    found = np.load(tmp_path / "digits.npz")
    assert found["x"].shape == (4, 8, 8, 1)
    assert found["label"].tolist() == [3, 3, 1, 1]
    assert found["caption"].tolist() == ["3", "3", "1", "1"]


@pytest.mark.slow
def test_models_of_latents_draw_pictures_alone_and_before_a_stage_that_enlarges(runs, tmp_path):
    flags = ("--labels=3,1", "--num=2", "--overwrite", f"--out={tmp_path / 'digits'}")
    succeeds("projects.text.draw", f"--stages={runs('latent_digits')}", *flags)
    found = np.load(tmp_path / "digits.npz")["x"]
    assert found.shape == (4, 8, 8, 1)
    values = (found + 1) * 8
    np.testing.assert_allclose(values, values.round(), atol=1e-5, err_msg="decoded pixels have the 17 values of digits")
    flags = ("--caption=a red square", "--num=2", "--overwrite", f"--out={tmp_path / 'squares'}")
    succeeds("projects.text.draw", f"--stages={runs('latent_captions')},{runs('high')}", *flags)
    found = np.load(tmp_path / "squares.npz")
    assert (found["stage_0"].shape, found["x"].shape) == ((2, 8, 8, 3), (2, 16, 16, 3))


@pytest.fixture(scope="module")
def trained(runs, tmp_path_factory):
    """The folder with a base, a stage that enlarges and a decoder."""
    root = tmp_path_factory.mktemp("trained")
    enlarging = transformer(upper(runs.config(image_crop=8), 16))
    enlarging.sampling.guidance_scale, enlarging.evaluation.guidance_scales = 1.0, (1.0,)
    decoder = transformer(runs.config(smoke_decoder, "contrastive"))
    for name, config in (("base", runs.config()), ("upper", enlarging), ("decoder", decoder)):
        file = save_resolved(config, root / f"{name}.json")
        succeeds("train", f"--config={file}", f"--workdir={root / name}", "--config.evaluation.num_samples=8")
    return root


@pytest.mark.slow
def test_every_stage_is_trained_and_evaluated_by_one_command(trained):
    for name in ("base", "upper", "decoder"):
        folder = trained / name
        assert np.isfinite(json.loads((folder / "evaluation.json").read_text())["bound/bits per dim"]), name
        saved = restore_extra(folder / "checkpoints") or {}
        assert saved["weights"]["conditions.tokens.name"] == "captions"
        assert ("encoder" in saved) == (name == "decoder")
        assert "<img" in (folder / "report.html").read_text()
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train/loss"] for line in lines if "train/loss" in line]
        assert losses, name
        assert np.isfinite(losses).all(), name


@pytest.mark.slow
def test_pictures_are_drawn_through_all_trained_stages(runs, trained, tmp_path):
    drawn = {}
    for name, prior in (("base", ()), ("decoder", (f"--prior={runs('prior')}",))):
        succeeds(
            "projects.text.draw",
            f"--stages={trained / name},{trained / 'upper'}",
            *prior,
            "--num=2",
            "--caption=a red square",
            f"--out={tmp_path / name}",
        )
        found = np.load(tmp_path / f"{name}.npz")
        assert (found["stage_0"].shape, found["x"].shape) == ((2, 8, 8, 3), (2, 16, 16, 3))
        assert np.isfinite(found["x"]).all()
        drawn[name] = found["x"]
    assert np.abs(drawn["base"] - drawn["decoder"]).max() > 0
