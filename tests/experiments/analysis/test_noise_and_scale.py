"""``noise_and_scale`` and ``autoencoder`` on a checkpoint, the pieces they are made of, and their exit_on_config_error."""

import json

import jax
import numpy as np
import optax
import pytest
from programs import run

from experiments.cli.config import ConfigError, save_resolved
from experiments.configs import base
from experiments.configs.images import digits_band, smoke
from experiments.configs.latents import digits_autoencoder
from experiments.configs.points import mixture_2d
from experiments.data.dataset import Dataset, load_dataset
from experiments.models import choices as build
from experiments.models import model
from experiments.models.runs import Experiment
from experiments.reporting import curves
from scorekit import random_fields, spectra, training, weightings


def config_with(**sections):
    config = base.get_config()
    for path, fields in sections.items():
        getattr(config.loss, path).update(**fields)
    return config


def test_a_config_names_a_band_and_the_times_of_an_autoencoder():
    config = config_with(weighting={"name": "band", "power": (0.5, 0.1), "count": (3, 1)})
    schedule = build.build_schedule(config)
    expected = weightings.per_log_snr(weightings.band([0.5, 0.1], [3, 1]), schedule)
    level = np.linspace(-4.0, 4.0, 5, dtype=np.float32)
    np.testing.assert_allclose(build.build_weighting(config, schedule)(level), expected(level), rtol=1e-6)
    several = build.build_times(config_with(times={"name": "levels", "ts": (0.2, 0.4)}))
    np.testing.assert_allclose(several.quantile(np.float32([0.1, 0.9]), schedule).t, [0.2, 0.4], rtol=1e-6)
    band = build.build_times(config_with(times={"name": "band", "power": (0.5,)}))
    np.testing.assert_allclose(schedule.log_snr(band.quantile(np.float32([0.5]), schedule).t), -np.log(0.5), rtol=1e-5)
    annealed = build.build_times(config_with(times={"name": "annealed", "first": 0.8, "last": 0.1}))
    assert (annealed.first, annealed.last) == (0.8, 0.1)
    for make in (digits_band.get_config, digits_autoencoder.get_config):
        build.check_choices(make())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"weighting": {"name": "band"}}, "config.loss.weighting.power=None: must be set for loss.weighting.name=band"),
        ({"weighting": {"name": "band", "power": (0.0,)}}, r"config.loss.weighting \(band\): power must be finite"),
        ({"times": {"name": "levels", "ts": (1.5,)}}, r"config.loss.times \(levels\): ts must be in \[0, 1\]"),
        ({"times": {"name": "annealed", "first": 0.8}}, "config.loss.times.last=None: must be set for"),
    ],
)
def test_a_band_or_levels_that_make_no_sense_are_refused(sections, message):
    config = config_with(**sections)
    with pytest.raises(ConfigError, match=message):
        build.check_choices(config)


def test_the_noise_of_a_batch_follows_the_progress_of_training():
    config = config_with(times={"name": "annealed", "first": 0.8, "last": 0.2})
    config.data.name, config.network.name = "ring", "mlp"
    dataset = load_dataset(config)
    prepare = jax.jit(model.make_prepare(model.build_model(config, dataset), dataset))
    batch = dataset.batch(0, 0, 4)
    times = [prepare(jax.random.key(0), {**batch, "progress": np.full(4, p, np.float32)})["t"] for p in (0.0, 0.5)]
    np.testing.assert_allclose(times, [[0.8] * 4, [0.5] * 4], rtol=1e-6)
    np.testing.assert_allclose(prepare(jax.random.key(0), batch)["t"], 0.2, rtol=1e-6)  # elsewhere: as at the end


def test_curves_draw_panels_and_refuse_lengths_that_differ(tmp_path):
    x, panel = np.arange(3.0), {"a": np.array([1.0, np.nan, 30.0]), "b": np.ones(3)}
    shades = {"left": {"a": np.ones(3)}}
    path = curves.panels(
        tmp_path / "c.png", x, {"left": panel, "right": panel}, xlabel="x", ylabel="y", title="t", shades=shades
    )
    assert path.stat().st_size > 1000
    with pytest.raises(ValueError, match=r"a must have the shape \(3,\) of x, got \(2,\)"):
        curves.panels(path, x, {"": {"a": np.ones(2)}}, xlabel="x", ylabel="y")


def untrained(config, folder):
    """A run whose network has not learned anything."""
    save_resolved(config, folder / "config.json")
    built = model.build_model(config, load_dataset(config))
    state = training.init_state(jax.random.key(0), model.init_params(built, jax.random.key(0)), optax.sgd(0.1))
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(6, state)
        checkpoints.wait()
    return folder


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """The digits."""
    return untrained(smoke.get_config(), tmp_path_factory.mktemp("runs") / "new")


class Signals(Dataset):
    """Fields with a power-law spectrum, sampled at 8 kHz."""

    def __init__(self, n=600):
        self.field = random_fields.power_law((128,), exponent=1.0)
        self.name, self.shape, self.num_classes, self.sample_rate = "fields", (128, 1), 2, 8000
        self.examples, self.levels = n, None
        self.train, self.test = (
            {"x": np.asarray(self.field.sample(jax.random.key(i), (n,))), "label": np.zeros(n, int)} for i in (1, 2)
        )

    def to_model(self, x):
        return x


def test_noise_and_scale_of_signals(load_program, monkeypatch, tmp_path, capsys):
    """A network that answers v = 0 estimates x0 as alpha x_t, whose error in each octave is known."""
    module = load_program("experiments.analysis.noise_and_scale")
    config, dataset = smoke.get_config(), Signals()
    built = model.build_model(config, dataset)
    opened = Experiment(dataset, built, None, model.init_params(built, jax.random.key(0)), 6, model.NO_EXTRAS)
    monkeypatch.setattr(module, "open_experiment", lambda *_: opened)
    monkeypatch.setattr(module, "AT_ONCE", 128 * 200)  # three blocks
    module.flags.FLAGS.workdir, module.flags.FLAGS.levels = str(tmp_path), 3
    if not module.flags.FLAGS.is_parsed():
        module.flags.FLAGS.mark_as_parsed()
    module.main(config)
    printed = capsys.readouterr().out
    assert "Hz on: --config.loss.weighting.name=eps" in printed
    assert (tmp_path / "noise_and_scale" / "report.html").read_text().count("<img") == 4

    bands = module.make_bands((128, 1), ())
    assert bands.count.tolist() == [1, 2, 4, 8, 16, 32, 65]  # the mean and six octaves, the last with its end
    levels = np.array([-2.0, 0.0, 2.0])
    power, errors, ts = module.measure(opened, levels, bands, 600)
    expected = np.bincount(np.ravel(bands.index), np.ravel(dataset.field.power)) / bands.count
    np.testing.assert_allclose(power[1:], expected[1:], rtol=0.15)
    alpha, sigma = np.asarray(built.schedule.alpha(ts))[:, None], np.asarray(built.schedule.sigma(ts))[:, None]
    np.testing.assert_allclose(np.log(alpha**2 / sigma**2)[:, 0], levels, atol=1e-4)
    off = (errors.mean - (sigma**4 * expected + (alpha * sigma) ** 2)) / errors.standard_error
    assert np.abs(off).max() < 4.5
    assert 0.4 < np.std(off) < 1.7

    # in one block the noise is another, and the sizes of the errors are the same
    monkeypatch.setattr(module, "AT_ONCE", 2**20)
    _, whole, _ = module.measure(opened, levels, bands, 600)
    np.testing.assert_allclose(whole.standard_error, errors.standard_error, rtol=0.25)


def test_errors_of_parts_are_pooled_as_one(load_program):
    module = load_program("experiments.analysis.noise_and_scale")
    each = np.random.default_rng(0).exponential(size=(9, 2, 3)) + np.arange(9.0)[:, None, None]
    of = lambda x: spectra.BandErrors(x.mean(axis=0), x.std(axis=0, ddof=1) / np.sqrt(len(x)))
    found, whole = module.pooled([of(each[:4]), of(each[4:7]), of(each[7:])], [4, 3, 2]), of(each)
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(found.standard_error, whole.standard_error, rtol=1e-12)


@pytest.mark.slow
def test_noise_and_scale_writes_its_report(workdir):
    code, out, err = run("noise_and_scale", f"--workdir={workdir}", "--levels=5", "--edges=0.2,0.4")
    assert code == 0, err
    report = workdir / "noise_and_scale" / "report.html"
    assert str(report) in out.splitlines()[-1]
    assert report.read_text().count("<img") == 4
    assert "--config.loss.times.power=" in out
    rows = [line.split() for line in out.splitlines() if line.startswith(("-8 ", "8 "))]
    assert len(rows) == 2
    assert float(rows[0][2]) == 0.0  # at the highest noise no band is recovered by the Wiener filter


@pytest.mark.slow
def test_autoencoder_trains_probes_and_keeps(workdir):
    flags = [f"--workdir={workdir}", "--levels=0,4", "--layers=middle_block", "--steps=3", "--examples=200"]
    code, out, err = run("autoencoder", *flags, "--compare=annealed,several levels")
    assert code == 0, err
    report = workdir / "autoencoder" / "report.html"
    assert str(report) in out.splitlines()[-1]
    assert report.read_text().count("<img") == 2
    for name in ("this run", "untrained network", "annealed", "several levels", "pixels alone"):
        assert any(line.startswith(name) for line in out.splitlines()), name
    saved = json.loads((workdir / "autoencoder" / "annealed" / "config.json").read_text())
    assert saved["loss"]["times"]["first"] == 0.8
    code, out, err = run("autoencoder", *flags, "--compare=annealed")
    assert code == 0, err
    assert "annealed, seed" not in err  # it was kept
    code, out, err = run("autoencoder", *flags, "--compare=annealed", "--config.training.batch_size=9")
    assert code == 2
    assert "--compare=annealed:" in err


@pytest.mark.slow
def test_band_weighting_compares(tmp_path):
    flags = ["--seeds=1", "--edges=0.3", f"--out={tmp_path}/b.png", "--config.training.steps=2"]
    flags += ["--config.network.channels=8", "--config.training.warmup_steps=1"]
    config = "--config=experiments/configs/images/digits_band.py"
    code, out, err = run("benchmarks.band_weighting", config, *flags)
    assert code == 0, err
    assert len([line for line in out.splitlines() if line.startswith("band f")]) == 6
    assert (tmp_path / "b.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("noise_and_scale", ["--edges=0.4,0.2"], "--edges=0.4,0.2: must be rising numbers above 0, as in 1,2"),
        ("autoencoder", ["--compare=anealed"], "--compare=anealed: must be of class-free, one level,"),
        ("autoencoder", ["--levels=x"], "--levels=x: must be rising numbers, as in 1,2"),
        ("autoencoder", ["--layers=middle"], "--layers=middle: must be of down0_0_block/film,"),
    ],
)
def test_mistakes_are_told_in_one_line(workdir, program, arguments, message):
    code, _, err = run(program, f"--workdir={workdir}", *arguments)
    assert code == 2
    assert err.startswith(f"error: {message}"), err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_points_have_no_spectrum(tmp_path):
    untrained(mixture_2d.get_config(), tmp_path)
    for program in ("noise_and_scale", "autoencoder"):
        code, _, err = run(program, f"--workdir={tmp_path}")
        assert code == 2
        kinds = "images or sounds" if program == "noise_and_scale" else "images"
        assert f"its data must be {kinds}, they are ring of 8 Gaussians" in err
