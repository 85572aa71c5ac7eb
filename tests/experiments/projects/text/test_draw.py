"""Images from captions through a cascade, end to end, with the states of captions given in a file."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from PIL import Image
from programs import error_of, fails, succeeds
from text_runs import transformer

from experiments import data
from experiments.configs.images import smoke as classes
from experiments.data.images import ImageSet
from experiments.projects.text import embeddings, stages
from experiments.tasks.diffusion.build import build_model, build_rules
from experiments.tasks.diffusion.guidance import PROMPTS, Prompts, make_guided
from scorekit.networks import Masked

RNG = np.random.default_rng(0)
WEIGHTS = np.array([[1.5, 0.5], [1.0, -0.3]], np.float32)


def composed(base, c0, c1, scale=1.0):
    w0, w1 = (WEIGHTS[:, k, None, None, None] for k in range(2))
    return base + scale * (w0 * (c0 - base) + w1 * (c1 - base))


def apg(c, u):
    """Without what is parallel to the conditional estimate."""
    flat = lambda x: x.reshape(len(x), -1)
    d, along = flat(c - u), flat(c)
    d = d - along * (d * along).sum(1, keepdims=True) / np.square(along).sum(1, keepdims=True)
    return c + d.reshape(c.shape)


@pytest.mark.slow
def test_captions_with_weights_and_a_negative_one_are_the_linear_combination(runs):
    """Alone, with a negative caption, and below a rule of guidance, which is built on the composition."""
    config = transformer(runs.config())
    model = build_model(config, data.build(config))
    params = jax.tree.map(jnp.asarray, random_params(model, 0.3))
    x = jnp.asarray(RNG.normal(size=(2, 8, 8, 3)), jnp.float32)
    words = lambda k: {
        "labels": np.zeros(2, np.int32),
        "tokens": Masked(jnp.asarray(RNG.normal(size=(2, 3, 6)), jnp.float32), jnp.ones((2, 3), bool)),
        "vector": Masked(jnp.full((2, 6), 0.1 * k), jnp.ones(2, bool)),
    }
    words = [words(k) for k in range(3)]

    def estimator(config):
        guided = make_guided(build_rules(config), model)
        run_at = jax.jit(lambda given, scale: guided(params, given, scale)(x, jnp.full(2, 0.5)).x0)
        return lambda given, scale: np.asarray(run_at(given, jnp.float32(scale)))

    estimate = estimator(config)
    c0, c1, negative = (estimate(each, 1.0) for each in words)
    null = estimate(words[0], 0.0)
    assert np.abs(c0 - null).max() > 1e-2
    for base, last in ((null, None), (negative, words[2])):
        mixed = estimate({**words[0], PROMPTS: Prompts((words[1],), WEIGHTS, last)}, 2.0)
        np.testing.assert_allclose(mixed, composed(base, c0, c1, 2.0), atol=2e-4)
    alone = estimate({**words[0], PROMPTS: Prompts((), None, words[2])}, 2.0)
    np.testing.assert_allclose(alone, 2.0 * c0 - negative, atol=2e-4)
    config.guidance = ("apg",)
    ruled = estimator(config)({**words[0], PROMPTS: Prompts((words[1],), WEIGHTS, words[2])}, 2.0)
    np.testing.assert_allclose(ruled, apg(composed(negative, c0, c1), negative), atol=2e-4)
    assert np.abs(ruled - c0).max() > 1e-2


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
    """Full images from a second stage that was trained on crops."""
    monkeypatch.setattr(ImageSet, "credit", "Images by A, CC-BY 4.0")
    names, out = f"--stages={runs('low')},{runs('crops')}", tmp_path / "drawn"
    captions = ("--caption=a red square:1.5 + a green square:0.5", "--caption=a blue square")
    options = ("--negative=a green square", "--num=2", "--map_noise=0.2", f"--out={out}")
    rules = "--config.guidance=classifier_free,dynamic_threshold"
    text = succeeds("projects.text.draw", names, *captions, *options, rules)
    drawn = np.load(f"{out}.npz")
    assert (drawn["x"].shape, drawn["stage_0"].shape) == ((4, 16, 16, 3), (4, 8, 8, 3))
    assert drawn["caption"].tolist() == [text.removeprefix("--caption=") for text in captions for _ in range(2)]
    assert "drawn.png, " in text.splitlines()[-1]
    page = Path(f"{out}.html").read_text()
    assert "0.2" in page, "the noise on the copy"
    assert "a green square" in page, "the negative caption"
    assert "<p>Data: Images by A, CC-BY 4.0.</p>" in page
    with Image.open(f"{out}.png") as image:
        assert image.width > 500


RED = "--caption=a red square"


def test_stages_that_do_not_continue_each_other_are_named(runs):
    """Before anything is loaded."""

    def check(names, prior=None):
        names = [str(runs(name)) for name in names]
        cascade = stages.saved_cascade(stages.first_config(names), names, prior and str(runs(prior)))
        embeddings.check_prior(cascade)
        stages.check(cascade, prior is not None)

    for names, prior, message in (
        (("low", "digits_8"), None, "low, config.data.name=folder; it has tfds"),
        (("low", "low"), None, "low must enlarge images, by config.conditions.map.name=average_pool"),
        (("decoder",), None, "draws from the embedding of an image: give --prior=RUN"),
        (("decoder",), "low", "low: must draw embeddings"),
        (("digits_8",), None, "must draw without an image to enlarge"),
    ):
        assert message in error_of(check, names, prior)


ERRORS = [
    ("low,high", [RED, "--map_noise=0.1,0.2"], "--map_noise=0.1,0.2: must be 1 numbers"),
    ("low", ["--caption=a dog"], "has no caption 'a dog'"),
    ("low", [RED, "--style=flat"], "--style=flat: must be one of the styles of"),
    ("decoder", ["--prior=other_prior", RED], "draws embeddings of another encoder than"),
    ("changed", ["--prior=prior", RED], "contrastive: has other weights than the encoder that"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("names", "flags", "message"), ERRORS)
def test_what_cannot_be_drawn_is_one_sentence(runs, names, flags, message):
    names = ",".join(str(runs(name)) for name in names.split(","))
    flags = [f"--prior={runs(flag[8:])}" if flag.startswith("--prior=") else flag for flag in flags]
    err = fails("projects.text.draw", f"--stages={names}", *flags, at_once=False)
    assert message in err
    assert len(err.strip().splitlines()) == 1
