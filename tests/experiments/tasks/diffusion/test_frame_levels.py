"""Runs with a noise level for each frame: the batch and loss of training, what does not go with it, long sounds."""

import jax
import numpy as np
import pytest
from parameters import random_params
from programs import changed, give, save_untrained

from experiments import data as data_sets
from experiments.data.builders import sets
from experiments.data.builders.sets import LabelledSounds
from experiments.projects.audio.configs import phrases_forcing
from experiments.projects.audio.sound import roll_out
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.guidance import NO_EXTRAS
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.diffusion.metrics.run_metrics import loss_by_noise_level
from experiments.tasks.task import Run

CROP, FRAMES, RATE = 1024, 16, 4000


WAVENET = "data.crop=1024 sampling.steps=4 network.channels=4 network.layers=2 network.cycle=2"
SMALL = changed(phrases_forcing, *WAVENET.split())
UNSET = ("network.channels=None", "network.layers=None", "network.cycle=None")
TRANSFORMER = ("network.name=causal_transformer", "network.depth=1", "network.width=8", "network.heads=2")
CAUSAL = {
    "causal_wavenet": changed(SMALL, "network.name=causal_wavenet"),
    "causal_transformer": changed(SMALL, *UNSET, *TRANSFORMER),
}


@pytest.fixture
def songs(monkeypatch):
    rng = np.random.default_rng(0)
    found = LabelledSounds(
        x=rng.integers(-9000, 9000, (6, CROP), np.int16),
        roll=np.zeros((6, 17, 128), np.uint8),
        instrument=np.arange(6, dtype=np.int32) % 2,
        sample_rate=RATE,
        frame_rate=62.5,
        name="phrases",
    )
    monkeypatch.setattr(sets, "load_phrases", lambda *_: found)


def run_of(config):
    """A run with random parameters."""
    dataset = data_sets.build(config)
    model = build_model(config, dataset)
    return Run(dataset, model, None, random_params(model), 0, NO_EXTRAS)


@pytest.fixture
def run(songs):
    return run_of(SMALL)


@pytest.mark.slow
def test_every_frame_of_a_batch_has_a_time_and_the_loss_is_one_of_examples(run):
    prepare, loss = make_prepare(run.model, run.dataset), make_loss(run.model)
    batch = jax.jit(prepare)(jax.random.key(0), run.dataset.batch(0, 0, 4))
    assert batch["t"].shape == batch["weight"].shape == (4, FRAMES)
    assert len(np.unique(batch["t"])) == 4 * FRAMES
    value, aux = jax.jit(loss)(run.params, batch)
    assert value.shape == (4,)
    assert aux["error"].shape == (4, FRAMES)
    binned = loss_by_noise_level(run.model, run.dataset, run.params, run.dataset.test)
    assert binned.count.sum() == 6 * FRAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_a_causal_network_is_trained_and_rolls_out(songs, name):
    """Frames depend on the levels and values before and at them alone, in a model built from a config."""
    config = CAUSAL[name]
    run = run_of(config)
    checks.build(config, run.dataset)
    dataset, model = run.dataset, run.model
    batch = jax.jit(make_prepare(model, dataset))(jax.random.key(0), dataset.batch(0, 0, 4))
    value, _ = jax.jit(make_loss(model))(run.params, batch)
    assert np.isfinite(value).all()
    x, t = np.random.default_rng(0).normal(size=(1, FRAMES, 128)).astype(np.float32), np.full((1, FRAMES), 0.5)
    predict = jax.jit(lambda x, t: model.denoiser(run.params, np.zeros(1, np.int32))(x, t).x0)
    later = np.arange(FRAMES) > 7
    changed = predict(np.where(later[None, :, None], -x, x), np.where(later, 0.2, t))
    plain = predict(x, t)
    np.testing.assert_allclose(changed[:, :8], plain[:, :8], atol=1e-5)
    assert np.abs(changed[:, 8:] - plain[:, 8:]).max() > 1e-3
    draw = jax.jit(roll_out.make_roll_out(config, run, 2, 3 * FRAMES, roll_out.Rolling(context=8, chunk=4)))
    found = draw(run.params, jax.random.key(0), {"labels": np.array([0, 1], np.int32)})
    assert np.isfinite(found).all()


@pytest.mark.slow
def test_long_sounds_by_roll_out_are_as_long_as_asked_and_depend_on_their_labels(run):
    config, labels = SMALL, np.array([0, 1], np.int32)
    rolling = roll_out.Rolling(context=8, chunk=4, stabilisation=0.05)
    draw = jax.jit(roll_out.make_roll_out(config, run, 2, 3 * FRAMES, rolling))
    found = {c: np.asarray(draw(run.params, jax.random.key(0), {"labels": labels * c})) for c in (0, 1)}
    assert found[0].shape == (2, 3 * FRAMES, 128)
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-5)
    assert np.abs(found[0][1] - found[1][1]).max() > 1e-4
    other = jax.jit(roll_out.make_roll_out(config, run, 2, 3 * FRAMES, rolling._replace(chunk=8)))
    again = np.asarray(other(run.params, jax.random.key(0), {"labels": labels}))
    np.testing.assert_allclose(again[:, :8], found[1][:, :8], atol=1e-5)  # the first context is drawn at once
    assert np.abs(again[:, 8:] - found[1][:, 8:]).max() > 1e-3


@pytest.fixture
def program(load_program, tmp_path, songs):
    found = load_program("experiments.projects.audio.sound.roll_out")
    give(workdir=tmp_path)
    return found


@pytest.mark.slow
def test_the_benchmark_prints_both_samplers(program, tmp_path, capsys):
    save_untrained(tmp_path, SMALL)
    give(num=2, times=2, context=8, chunk=8)
    program.main(SMALL)
    text = capsys.readouterr().out
    for expected in ("level, dB: roll-out", "onsets a second: blended windows", "seconds of computing", "segment 2"):
        assert expected in text
    assert (tmp_path / "roll_out" / "report.html").exists()


def test_statistics_of_segments_find_drift():
    n = np.arange(2 * RATE)
    pulse = np.where(n % 1000 < 500, np.exp(-(n % 1000) / 100), 0.0) * np.sin(2 * np.pi * 440 * n / RATE)
    real = np.stack([pulse[:RATE]] * 2)
    steady, fading = np.stack([pulse] * 2), np.stack([pulse * np.where(n < RATE, 1.0, 0.1)] * 2)
    table = roll_out.drift(real, {"steady": steady, "fading": fading}, RATE)
    rows = {row[0]: dict(zip(table.header, row, strict=True)) for row in table.rows}
    assert abs(rows["level, dB: steady"]["drift"]) < 0.1
    assert rows["level, dB: fading"]["standard error"] < 1e-3  # both fade by the same
    np.testing.assert_allclose(rows["level, dB: fading"]["drift"], -20, atol=0.1)
    np.testing.assert_allclose(rows["onsets a second: steady"]["segment 2"], 4, atol=1)


def test_the_drift_has_the_standard_error_of_the_differences_of_each_sound():
    real = np.random.default_rng(0).normal(size=(3, RATE))
    gains = np.array([0.0, -6.0, -12.0])  # of the second segment, in dB
    x = np.concatenate([real, real * 10 ** (gains[:, None] / 20)], axis=1) * np.array([[1.0], [0.1], [0.01]])
    table = roll_out.drift(real, {"x": x}, RATE)
    level = dict(zip(table.header, table.rows[0], strict=True))
    np.testing.assert_allclose([level["drift"], level["standard error"]], [-6, 6 / 3**0.5], rtol=1e-4)
