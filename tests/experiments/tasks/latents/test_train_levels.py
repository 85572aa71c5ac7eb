"""A hierarchy of codes from a shell: autoencoder, a model of each level, samples from the coarsest level down."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_configs
from programs import changed, error_of, fails, given, save_random, succeeds

from experiments import tasks
from experiments.tasks.latents.metrics import reconstruct
from experiments.tasks.sequences import model as sequences

FEW = "data.train_split=train[:60] data.test_split=test[:60] training.warmup_steps=2 training.steps=4"
SMALL = f"""{FEW} autoencoder.channels=4 autoencoder.codes=7 autoencoder.patch=2 autoencoder.multipliers=(1,)
    autoencoder.blocks=1 autoencoder.latent_channels=3 autoencoder.levels=2,1 training.batch_size=8
    evaluation.ema=none"""
PRIOR = f"""{FEW} symbols.name=codes data.image_size=None evaluation.at_end=False evaluation.guidance_scales=1
    sampling.guidance_scale=1 sampling.ema=none training.sample_every=100"""
MASKED = "model=masked network.name=dit network.patch=1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of an autoencoder of two levels, ``codes``, and of a model of each with random parameters: ``1`` and
    ``2``."""
    folder = tmp_path_factory.mktemp("runs")
    out = succeeds("train", f"--workdir={folder}/codes", *given("latents/digits_latent", SMALL))
    assert "perplexity of the codes, level 2" in out
    for level, fields in ((1, ""), (2, f"sampling.coarser={folder}/1 {MASKED}")):
        fields = f"{PRIOR} latents={folder}/codes symbols.level={level} {fields}"
        save_random(folder / str(level), changed(small_configs.sequence(), *fields.split()))
    return folder


@pytest.mark.slow
def test_a_model_of_latents_is_trained_and_sampled(runs, tmp_path):
    assert (runs / "codes" / "reconstructions" / "reconstructions.png").stat().st_size > 0
    fields = f"{FEW} latents={runs}/codes evaluation.guidance_scales=1 evaluation.num_samples=20"
    small = "sampling.guidance_scale=1 sampling.batch_size=10 network.multipliers=(1,) network.attention_resolutions=()"
    workdir = f"--workdir={tmp_path}/model"
    assert "class accuracy" in succeeds("train", workdir, *given("images/smoke", f"{fields} {small}"))
    succeeds("sample", workdir, "--num=4")
    with np.load(tmp_path / "model" / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (4, 8, 8, 1)
    assert "this is a model of latents" in fails("edit", workdir, at_once=False)


@pytest.mark.slow
def test_samples_are_drawn_from_the_coarsest_level_down(runs):
    metrics = json.loads((runs / "codes" / "evaluation.json").read_text())
    assert {"RMSE, 1 of 2 levels", "RMSE"} <= set(metrics["held-out data"])
    configs = [tasks.saved(runs / level) for level in "12"]
    top, fine = (tasks.of(c).open_run(c, runs / level, None, (1.0,)) for c, level in zip(configs, "12", strict=True))
    codes = fine.generate.codes(fine.params, 4, np.arange(6))
    assert codes.shape == (6, 4 + 16)
    np.testing.assert_array_equal(codes[:, :4], top.generate.codes(top.params, 5, np.arange(6)))
    assert fine.generate(fine.params, 4, np.arange(6), 1.0).shape == (6, 8, 8, 1)


@pytest.mark.slow
def test_a_level_is_given_the_codes_of_coarser_levels(runs):
    config = tasks.saved(runs / "2")
    dataset = sequences.load_data(config)
    part, inner, task = dataset.test, dataset.inner, tasks.of(config)
    every = [np.asarray(each) for each in inner.code_levels(inner.test["x"])]
    np.testing.assert_array_equal(part["x"], every[1].reshape(60, -1))
    np.testing.assert_array_equal(part["given"], every[0].reshape(60, -1))
    setup = task.build(config, dataset)
    batch = jax.jit(sequences.make_prepare(setup.model, dataset))(jax.random.key(0), part)
    expected = inner.from_codes([jnp.asarray(each) for each in every[:1]])
    np.testing.assert_allclose(batch["map"], expected.reshape(60, 16, 3), rtol=1e-5, atol=1e-5)
    values, _, _ = reconstruct(inner._built, inner._params, inner.inner.test)
    np.testing.assert_allclose(dataset.decoded(part), inner.inner.from_model(values[-1]["y"]), atol=0.1)
    labels, params = part["label"][:3], setup.trained.init(jax.random.key(0))
    plain, top = task.build(changed(config, "sampling.coarser=None"), dataset), tasks.saved(runs / "1")
    held_out = plain.generate.codes(params, 0, labels)[:, :4]
    assert all(row.tolist() in part["given"].tolist() for row in held_out)
    coarser = tasks.of(top).open_run(top, runs / "1", None, (1.0,))
    drawn = coarser.generate.codes(coarser.params, 1, labels)
    np.testing.assert_array_equal(setup.generate.codes(params, 0, labels)[:, :4], drawn)  # while it is trained, too


@pytest.mark.slow
def test_levels_and_runs_that_do_not_fit_are_named(runs):
    for level in (3, None):
        words = f"level must be from 1, the coarsest, to 2, the levels of latents of sklearn_digits, got {level}"
        assert words in error_of(sequences.load_data, changed(tasks.saved(runs / "2"), f"symbols.level={level}"))
    for level, coarser, words in (
        ("2", "2", "must be a run with config.symbols.level=1, it has 2"),
        ("2", "codes", "this run is no sequence"),
        ("1", "1", "must be None: no codes of a coarser level are given"),
    ):
        flags = f"--workdir={runs}/{level}", f"--config.sampling.coarser={runs}/{coarser}"
        assert words in fails("sample", *flags, at_once=False)
