"""Cascades from captions and from classes, end to end, with the states of captions given in a file."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from picture_runs import transformer
from PIL import Image
from programs import fails, succeeds

from experiments import data
from experiments.configs.images import smoke as classes
from experiments.data.images import ImageSet
from experiments.tasks.diffusion.build import build_model, build_rules
from experiments.tasks.diffusion.guidance import PROMPTS, Prompts, make_guided
from scorekit.networks import Masked

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


@pytest.mark.slow
def test_a_rule_is_built_on_the_composition_and_the_negative_caption(small):
    config, estimate, words, (c0, c1, negative) = small
    config = config.copy_and_resolve_references()
    config.guidance = ("apg",)
    given = {**words[0], PROMPTS: Prompts((words[1],), WEIGHTS, words[2])}
    found = np.asarray(estimate(config)(given, jnp.float32(2.0)))
    np.testing.assert_allclose(found, apg(composed(negative, c0, c1), negative), atol=2e-4)
    assert np.abs(found - c0).max() > 1e-2


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
    assert "drawn.png, " in text.splitlines()[-1]
    page = Path(f"{out}.html").read_text()
    assert "0.2" in page, "the noise on the copy"
    assert "a green square" in page, "the negative caption"
    assert "<p>Data: Pictures by A, CC-BY 4.0.</p>" in page
    with Image.open(f"{out}.png") as picture:
        assert picture.width > 500


@pytest.mark.slow
def test_classes_through_a_cascade(runs, tmp_path):
    stages = f"--stages={runs('digits_4')},{runs('digits_8')}"
    succeeds("projects.text.draw", stages, "--labels=3,1", "--num=2", f"--out={tmp_path / 'digits'}")
    found = np.load(tmp_path / "digits.npz")
    assert found["x"].shape == (4, 8, 8, 1)
    assert found["label"].tolist() == [3, 3, 1, 1]
    assert found["caption"].tolist() == ["3", "3", "1", "1"]


RED = "--caption=a red square"
ERRORS = [
    ("low,digits_8", [RED], "low, config.data.name=folder; it has tfds"),
    ("low,low", [RED], "low must enlarge pictures, by config.conditions.map.name=average_pool"),
    ("low,high", [RED, "--map_noise=0.1,0.2"], "--map_noise=0.1,0.2: must be 1 numbers"),
    ("low", ["--caption=a dog"], "has no caption 'a dog'"),
    ("low", [RED, "--style=flat"], "--style=flat: must be one of the styles of"),
    ("decoder", [RED], "draws from the embedding of a picture: give --prior=RUN"),
    ("decoder", ["--prior=low", RED], "low: must draw embeddings"),
    ("decoder", ["--prior=other_prior", RED], "draws embeddings of another encoder than"),
    ("changed", ["--prior=prior", RED], "contrastive: has other weights than the encoder that"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("stages", "flags", "message"), ERRORS)
def test_what_cannot_be_drawn_is_one_sentence(runs, stages, flags, message):
    names = ",".join(str(runs(name)) for name in stages.split(","))
    flags = [f"--prior={runs(flag[8:])}" if flag.startswith("--prior=") else flag for flag in flags]
    err = fails("projects.text.draw", f"--stages={names}", *flags, at_once=False)
    assert message in err
    assert len(err.strip().splitlines()) == 1
