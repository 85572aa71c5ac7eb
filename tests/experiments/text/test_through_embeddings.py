"""Pictures through embeddings, end to end: encoders, a prior and a decoder, variations, and what cannot be drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parameters import random_params
from programs import captioned_squares, run, save_run

from experiments import data
from experiments.cli.config import ConfigError
from experiments.configs.text import smoke, smoke_contrastive, smoke_decoder, smoke_prior
from experiments.data.embeddings import Embeddings
from experiments.models import choices, contrastive, latents
from experiments.models.conditioning import dropout_rates
from experiments.models.loss import make_loss, make_prepare
from experiments.models.model import build_model
from experiments.text import embeddings
from scorekit.embeddings import slerp


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    """24 pictures of 16 x 16 pixels with captions and their states, and encoders of 8 x 8 with random parameters."""
    root = captioned_squares(tmp_path_factory.mktemp("embedded"))
    for name, features, seed in (("contrastive", 4, 0), ("longer", 6, 0), ("other", 4, 1)):
        config = at(root, smoke_contrastive.get_config())
        config.dual_encoder.features = features
        module = choices.build_module(config, "dual_encoder", choices.DUAL_ENCODERS)
        x, vectors = jnp.zeros((1, 8, 8, 3)), jnp.zeros((1, 6))
        save_run(root / name, config, jax.jit(module.init)(jax.random.key(seed), x, vectors))
    return root


def at(root, config, encoder=None):
    config.data.path, config.data.captions.encoder = str(root / "pictures"), str(root / "encoder.npz")
    if encoder is not None:
        config.data.embeddings.encoder = str(root / encoder)
    return config


def transformer(config):
    """The config with a small transformer, which compiles fast."""
    unset = dict.fromkeys(("channels", "multipliers", "attention_resolutions", "token_levels"))
    config.network.update(name="dit", width=16, depth=1, heads=2, patch=4, **unset)
    return config


def save(folder, config):
    model = build_model(config, latents.load_data(config))
    return save_run(folder, config, random_params(model, 0.1))


@pytest.fixture(scope="session")
def runs(root):
    """A prior, a decoder, and runs that do not go with them, with random parameters."""
    save(root / "prior", at(root, smoke_prior.get_config(), "contrastive"))
    save(root / "decoder", transformer(at(root, smoke_decoder.get_config(), "contrastive")))
    save(root / "captions", transformer(at(root, smoke.get_config())))
    save(root / "longer_prior", at(root, smoke_prior.get_config(), "longer"))
    save(root / "other_prior", at(root, smoke_prior.get_config(), "other"))
    blind = at(root, smoke_prior.get_config(), "contrastive")
    blind.data.captions.encoder, blind.data.vector.name = None, "none"
    save(root / "blind_prior", blind)
    return root


@pytest.fixture(scope="session")
def prior_data(root):
    return latents.load_data(at(root, smoke_prior.get_config(), "contrastive"))


def test_examples_of_a_prior_are_embeddings_of_mean_square_1_with_their_captions(root, prior_data):
    assert isinstance(prior_data, Embeddings)
    encoder = contrastive.open_encoder(root / "contrastive", "--encoder")
    batch = prior_data.batch(0, 3, 8)
    assert batch["x"].shape == (8, 4)
    np.testing.assert_allclose(np.square(batch["x"]).mean(1), 1.0, rtol=1e-5)
    pictures = prior_data._inner
    raw = pictures.batch(0, 3, 8)
    expected = 2.0 * encoder.embed_pictures(np.asarray(pictures.to_model(raw["x"])))
    np.testing.assert_allclose(batch["x"], expected, atol=1e-5)
    np.testing.assert_array_equal(batch["caption_pooled"], raw["caption_pooled"])
    samples = prior_data.from_model(np.array([[3.0, 0, 0, 0], [np.inf, 0, 0, 0]]))
    np.testing.assert_allclose(samples, [[2.0, 0, 0, 0], [np.nan] * 4])


def test_embeddings_are_computed_once(root, prior_data, monkeypatch):
    monkeypatch.setattr(contrastive.Encoder, "embed_pictures", None)
    again = latents.load_data(at(root, smoke_prior.get_config(), "contrastive"))
    np.testing.assert_array_equal(again.train["x"], prior_data.train["x"])


def test_pictures_of_another_size_than_those_of_the_encoder_have_the_same_embeddings(root, prior_data):
    config = at(root, smoke_decoder.get_config(), "contrastive")
    config.data.image_size = 4
    dataset = latents.load_data(config)
    assert dataset.shape == (4, 4, 3)
    np.testing.assert_array_equal(dataset.train["embedding"], prior_data.train["x"])
    np.testing.assert_array_equal(dataset.test["embedding"], prior_data.test["x"])


@pytest.mark.slow
def test_a_decoder_drops_embedding_and_caption_and_both_have_gradients(root):
    config = transformer(at(root, smoke_decoder.get_config(), "contrastive"))
    config.loss.vector_dropout = 0.5
    dataset = latents.load_data(config)
    model = build_model(config, dataset)
    prepare, loss = make_prepare(model, dataset, dropout_rates(config)), make_loss(model)
    batch = prepare(jax.random.key(0), dataset.batch(0, 0, 16))
    for name in ("vector", "tokens"):
        kept = np.asarray(batch["conditions"][name].present).reshape(16, -1).all(1)
        assert 0 < kept.sum() < 16, name
    params = jax.tree.map(jnp.asarray, random_params(model, 0.1))
    gradient = jax.jit(jax.grad(lambda params: loss(params, batch)[0].mean()))(params)
    found = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradient) if "vector" in str(path)]
    assert len(found) > 1
    assert all(np.abs(leaf).max() > 0 for leaf in found)


@pytest.mark.slow
def test_a_prior_is_trained_and_pictures_are_drawn_through_it(runs, tmp_path):
    code, out, err = run(
        "train", "--config=experiments/configs/text/smoke_prior.py", f"--config.data.path={runs / 'pictures'}",
        f"--config.data.captions.encoder={runs / 'encoder.npz'}", f"--workdir={tmp_path / 'prior'}",
        f"--config.data.embeddings.encoder={runs / 'contrastive'}",
    )  # fmt: skip
    assert code == 0, err
    assert "energy distance" in out
    code, out, err = run("text.draw", f"--prior={tmp_path / 'prior'}", f"--stages={runs / 'decoder'}", "--num=2",
                         "--caption=a red square", "--caption=a red square:1.5 + a green square:0.5",
                         f"--out={tmp_path / 'drawn'}")  # fmt: skip
    assert code == 0, err
    assert np.load(tmp_path / "drawn.npz")["x"].shape == (4, 8, 8, 3)


@pytest.mark.slow
def test_variations_interpolations_and_edits(runs, tmp_path):
    stages, out = f"--stages={runs / 'decoder'}", f"--out={tmp_path / 'out'}"
    picture, other = (f"--picture={runs / 'pictures' / name}" for name in ("00.png", "01.png"))
    encoder = contrastive.open_encoder(runs / "contrastive", "--encoder")
    paths = [str(runs / "pictures" / name) for name in ("00.png", "01.png")]
    ends = encoder.embed_pictures(embeddings.read_pictures(paths, 8, "RGB"))
    code, _, err = run("text.variations", stages, picture, other, "--between=3", "--num=2", out)
    assert code == 0, err
    found = np.load(tmp_path / "out.npz")
    assert found["x"].shape == (3, 2, 8, 8, 3)
    np.testing.assert_allclose(found["embedding"][[0, 2]], ends, atol=1e-5)
    np.testing.assert_allclose(found["embedding"][1], slerp(*ends, 0.5), atol=1e-5)
    assert np.abs(found["x"][0] - found["x"][2]).max() > 0, "the decoder takes the embedding"
    code, _, err = run("text.variations", stages, picture, "--before=a red square", "--after=a blue square",
                       "--weights=0,0.5", "--num=2", out)  # fmt: skip
    assert code == 0, err
    edit = np.load(tmp_path / "out.npz")
    np.testing.assert_allclose(edit["embedding"][0], ends[0], atol=1e-5)
    np.testing.assert_array_equal(edit["x"][0], found["x"][0])


def test_a_prior_of_another_encoder_is_named(root):
    opened = {name: contrastive.open_encoder(root / name, name) for name in ("contrastive", "longer", "other")}
    embeddings.check_same(opened["contrastive"], opened["contrastive"], "--prior=p", "decoder")
    with pytest.raises(ConfigError, match=r"--prior=p: draws embeddings of 6 values, decoder decodes those of 4$"):
        embeddings.check_same(opened["longer"], opened["contrastive"], "--prior=p", "decoder")
    with pytest.raises(ConfigError, match="--prior=p: draws embeddings of another encoder than decoder decodes"):
        embeddings.check_same(opened["other"], opened["contrastive"], "--prior=p", "decoder")


RED = "--caption=a red square"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("draw", ["--stages=decoder", RED], "decoder draws from the embedding of a picture: give --prior=RUN"),
        ("draw", ["--stages=captions", "--prior=prior", RED], "captions must be conditioned on the embedding of a"),
        ("draw", ["--stages=decoder", "--prior=captions", RED], "captions: must draw embeddings"),
        ("draw", ["--stages=decoder", "--prior=blind_prior", RED], "blind_prior: must have captions as a condition"),
        ("draw", ["--stages=decoder", "--prior=longer_prior", RED], "draws embeddings of 6 values"),
        ("draw", ["--stages=decoder", "--prior=prior", "--labels=0"], "--caption=… must be given, or"),
        ("draw", ["--stages=prior", RED], "prior must draw pictures, it draws embeddings"),
        ("variations", ["--stages=decoder", "--picture=no.png"], "--picture=no.png: there is no such file"),
        ("variations", ["--stages=decoder", "--picture=setup.cfg"], "--picture=setup.cfg: must be a picture: "),
        ("variations", ["--stages=captions", "--picture=no.png"], "must be conditioned on the embedding of a picture"),
        ("variations", ["--stages=decoder"], "--picture: must be given once, or twice"),
        ("variations", ["--stages=decoder", "--picture=a", "--after=b"], "--before and --after: must be given togeth"),
    ],
)
def test_what_cannot_be_drawn_through_embeddings_is_one_sentence(runs, program, flags, message):
    in_folder = [f"{f.split('=')[0]}={runs / f.split('=')[1]}" if f[2:8] in ("stages", "prior=") else f for f in flags]
    code, _, err = run(f"text.{program}", *in_folder)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data.embeddings.encoder": None}, "config.data.embeddings.encoder=None: must be a folder"),
        ({"data.vector.name": "embedding"}, "config.data.vector.name=embedding: must be caption or none"),
        ({"data.augment": "flip"}, "config.data.augment=flip: must be None"),
        ({"data.map.name": "average_pool"}, "config.data.map.name=average_pool: must be none"),
    ],
)
def test_fields_that_do_not_go_with_a_prior_are_named(fields, message):
    config = smoke_prior.get_config()
    config.update_from_flattened_dict(fields)
    with pytest.raises(ConfigError, match=message):
        data.check(config)
