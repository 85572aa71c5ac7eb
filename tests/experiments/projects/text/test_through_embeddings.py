"""Images through embeddings, end to end: encoders, a prior and a decoder, variations, and what cannot be drawn."""

import types
from typing import Any

import numpy as np
import pytest
import small_configs
from programs import SQUARES, succeeds

from experiments import data
from experiments.cli.config import ConfigError, save_resolved
from experiments.projects.text import embeddings
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Stage, conditions
from experiments.tasks.contrastive import embeddings as encoders
from experiments.tasks.contrastive.embeddings import Embeddings
from experiments.tasks.diffusion.guidance import PROMPTS
from scorekit.losses.contrastive import slerp
from scorekit.training.restoring import restore_extra


@pytest.fixture(scope="session")
def prior_data(runs):
    return data.load(runs.config(small_configs.prior, "contrastive"))


def test_examples_of_a_prior_are_embeddings_of_mean_square_1_with_their_captions(runs, prior_data):
    assert isinstance(prior_data, Embeddings)
    encoder = encoders.open_encoder(runs("contrastive"), "--encoder")
    batch = prior_data.batch(0, 3, 8)
    assert batch["x"].shape == (8, 4)
    np.testing.assert_allclose(np.square(batch["x"]).mean(1), 1.0, rtol=1e-5)
    images = prior_data.inner
    raw = images.batch(0, 3, 8)
    expected = 2.0 * encoder.embed_pictures(np.asarray(images.to_model(raw["x"])))
    np.testing.assert_allclose(batch["x"], expected, atol=1e-5)
    np.testing.assert_array_equal(batch["caption_pooled"], raw["caption_pooled"])
    samples = prior_data.from_model(np.array([[3.0, 0, 0, 0], [np.inf, 0, 0, 0]]))
    np.testing.assert_allclose(samples, [[2.0, 0, 0, 0], [np.nan] * 4])


def test_images_of_another_size_than_those_of_the_encoder_have_the_same_embeddings(runs, prior_data):
    config = runs.config(small_configs.decoder, "contrastive")
    config.data.image_size = 4
    dataset = data.load(config)
    assert dataset.shape == (4, 4, 3)
    np.testing.assert_array_equal(dataset.train["embedding"], prior_data.train["x"])
    np.testing.assert_array_equal(dataset.test["embedding"], prior_data.test["x"])


@pytest.mark.slow
def test_a_prior_is_trained_and_images_are_drawn_through_it(runs, tmp_path):
    config, prior = runs.config(small_configs.prior, "contrastive"), tmp_path / "run"
    file = save_resolved(config, tmp_path / "config.json")
    out = succeeds("train", f"--config={file}", f"--workdir={prior}", "--config.evaluation.num_samples=8")
    assert "energy distance" in out
    saved = restore_extra(prior / "checkpoints") or {}
    assert saved["encoder"] == encoders.open_encoder(runs("contrastive"), "--encoder").checksum
    captions = ("--caption=a red square", "--caption=a red square:1.5 + a green square:0.5", "--num=2")
    folders = (f"--prior={prior}", f"--stages={runs('decoder')},{runs('crops')}", f"--out={tmp_path / 'drawn'}")
    succeeds("projects.text.draw", *folders, *captions)
    drawn = np.load(tmp_path / "drawn.npz")
    assert (drawn["stage_0"].shape, drawn["x"].shape) == ((4, 8, 8, 3), (4, 16, 16, 3))
    assert np.isfinite(drawn["x"]).all()


@pytest.mark.slow
def test_variations_interpolations_and_edits(runs, tmp_path):
    stages, out = f"--stages={runs('decoder')}", f"--out={tmp_path / 'out'}"
    image, other = (f"--image={runs.root / 'pictures' / name}" for name in ("00.png", "01.png"))
    encoder = encoders.open_encoder(runs("contrastive"), "--encoder")
    paths = [str(runs.root / "pictures" / name) for name in ("00.png", "01.png")]
    ends = encoder.embed_pictures(embeddings.read_images(paths, 8, "RGB"))
    succeeds("projects.text.variations", stages, image, other, "--between=3", "--num=2", out)
    found = np.load(tmp_path / "out.npz")
    assert found["x"].shape == (3, 2, 8, 8, 3)
    np.testing.assert_allclose(found["embedding"][[0, 2]], ends, atol=1e-5)
    np.testing.assert_allclose(found["embedding"][1], slerp(*ends, 0.5), atol=1e-5)
    assert np.abs(found["x"][0] - found["x"][2]).max() > 0, "the decoder takes the embedding"
    succeeds("projects.text.variations", stages, image, "--before=a red square", "--after=a blue square",
             "--weights=0,0.5", "--num=2", "--overwrite", out)  # fmt: skip
    edit = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(edit["embedding"][0], ends[0], atol=1e-5)
    np.testing.assert_array_equal(edit["x"][0], found["x"][0])


def test_each_caption_has_an_embedding_of_its_own(runs):
    """The prior draws each alone, from the same noise; the decoder combines captions of different embeddings."""
    module = types.SimpleNamespace(token_size=6, vector_size=4)
    model = types.SimpleNamespace(extracts={"tokens": None, "vector": None}, module=module, map_noise=None)
    seeds = []

    def generate(params, seed, given, scale):
        seeds.append(seed)
        return np.eye(4)[np.arange(4) % 2] + given["vector"].value[:, :4]

    run: Any = types.SimpleNamespace(model=model, generate=generate, params=None)
    prompts = [Prompt("", ((SQUARES[0], 1.5), (SQUARES[1], 0.5))), Prompt("", ((SQUARES[2], 1.0),))]
    labels, of_prior = np.zeros(2), runs.config(small_configs.prior, "contrastive")
    prior = embeddings.Prior(Stage("prior", of_prior, run), encoders.open_encoder(runs("contrastive"), "--encoder"))
    each = embeddings.from_captions(prior, 3, labels, prompts, SQUARES[2], "--caption")
    assert (len(each.parts), len(seeds), len(set(seeds))) == (2, 3, 1)
    assert each.negative is not None
    np.testing.assert_array_equal(each.parts[0][1], each.negative[1])  # the second image is of that caption
    assert np.abs(each.parts[0][0] - each.parts[1][0]).max() > 0

    stage = Stage("decoder", runs.config(small_configs.decoder, "contrastive"), run)
    given = conditions(stage, labels, prompts, SQUARES[2], None, None, each, "--caption")
    (other,), weights, negative = given[PROMPTS]
    for of_caption, expected in ((given, each.parts[0]), (other, each.parts[1]), (negative, each.negative)):
        np.testing.assert_allclose(of_caption["vector"].value, 2.0 * expected, rtol=1e-6)
    np.testing.assert_array_equal(weights, [[1.5, 0.5], [1.0, 0.0]])
    assert np.abs(given["tokens"].value - negative["tokens"].value)[0].max() > 0


def test_there_is_no_arc_between_opposite_embeddings():
    near = np.array([[1.0, 0, 0], [-1.0, 1e-5, 0]], np.float32)
    with pytest.raises(ConfigError, match="--image: the embeddings of the two images must not be opposite"):
        embeddings.between(near, 3)
    with pytest.raises(ConfigError, match="--image: its embedding and the difference of --before and --after must"):
        embeddings.edited(near[0], np.array([[0.8, 0, 0.6], [-0.8, 0, 0.6]], np.float32), [0.5])
    with pytest.raises(ConfigError, match="--after: must be a caption of another embedding"):
        embeddings.edited(near[0], np.array([[0, 1.0, 0], [0, 1.0, 0]], np.float32), [0.5])
