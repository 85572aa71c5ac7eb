"""Out-of-distribution scores from end to end, on real images, with a model whose denoiser is exact."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.configs.ood import ood_digits_gaussian
from experiments.ood import data as ood_data
from experiments.ood import model as ood_model
from experiments.ood import report as ood_report
from experiments.ood import scores as ood_scores
from experiments.ood import statistics as ood_statistics
from scorekit import denoisers, densities, schedules, typicality


@pytest.fixture
def program(load_program, monkeypatch, tmp_path):
    """``experiments.ood.detect`` and a small config, without what would have to be fetched."""
    monkeypatch.setenv("SCOREKIT_CACHE", str(tmp_path / "empty"))
    load_program("experiments.train")
    module = load_program("experiments.ood")
    config = ood_digits_gaussian.get_config()
    for field, text in {
        "near": "mirrored", "far": "photos,mnist", "examples": "120", "bound_times": "4", "path_steps": "6",
        "reconstruction_steps": "3", "batch_size": "120", "ascent_steps": "50", "batches": "1,8",
    }.items():  # fmt: skip
        override(config, field, text)
    return module, config


def test_digits_against_photographs(program, tmp_path, capsys):
    """Every score that is two-sided finds the photographs; the near set is harder; what is missing is said."""
    module, config = program
    module.flags.FLAGS.workdir = str(tmp_path)
    if not module.flags.FLAGS.is_parsed():
        module.flags.FLAGS.mark_as_parsed()
    module.main(config)
    printed, told = capsys.readouterr()
    assert "scoring 184/184 (100%)" in told  # 1 + 4 + 5 + 5 + 15 + 6 + 10 evaluations of each of four batches
    assert "log p: 480 images, " in printed
    assert "\nlikelihood and typicality of each set\n" in printed
    assert "sklearn_digits (in) against mirrored (near) (out), 8 x 8" in printed
    assert "left out: mnist is not in" in printed
    assert "python -m experiments.ood.data mnist" in printed
    numbers = json.loads((tmp_path / "ood.json").read_text())
    assert numbers["photos/score norms, Gaussian (MSMA)"] > 0.97
    assert numbers["photos/density of states (DoSE)"] > 0.97
    near = [value for name, value in numbers.items() if name.startswith("mirrored (near)/")]
    far = [value for name, value in numbers.items() if name.startswith("photos/")]
    assert len(near) == len(far) == 13
    assert numbers["photos/density of states, decorrelated"] > 0.97
    assert 0.6 < np.mean(near) < np.mean(far)
    page = (tmp_path / "ood.html").read_text()
    assert page.count("<img") == 4
    assert "AUROC, photos: best / likelihood" in page


def test_the_mode_is_likelier_and_less_typical(program):
    module, config = program
    dataset = ood_data.Inside("sklearn_digits", 8, 17)
    scored = module.open_model(config, dataset, None)
    sets, _ = module.gather(config, dataset)
    known = {"log p": np.asarray(scored.log_density(None, dataset.to_model(sets["calibration"])))[:, None]}
    found = module.ascend(config, scored, dataset, sets, known)
    assert np.all(found.log_p_after > found.log_p_before + 10)
    assert np.all(found.log_p_after > known["log p"].max())
    assert np.all(found.p_after < 0.02)
    assert np.median(found.p_before) > 0.1


def test_halves_do_not_overlap_and_the_near_set_is_made_of_the_second(program):
    module, config = program
    dataset = ood_data.Inside("sklearn_digits", 8, 17)
    sets, left_out = module.gather(config, dataset)
    rows = {name: {image.tobytes() for image in images} for name, images in sets.items()}
    assert not rows["calibration"] & rows["inside"]
    np.testing.assert_array_equal(sets["mirrored (near)"][:, :, ::-1], sets["inside"])
    assert all(images.shape[1:] == (8, 8, 1) and images.max() <= 16 for images in sets.values())
    assert len(left_out) == 1


def test_scoring_goes_on_where_it_was_stopped(program, tmp_path, monkeypatch):
    """What a stopped run has saved is not measured again, unless anything that matters has changed."""
    module, config = program
    override(config, "batch_size", "4")
    dataset = ood_data.Inside("sklearn_digits", 8, 17)
    scored = module.open_model(config, dataset, None)
    sets = {"calibration": dataset.test["x"][:6], "photos": dataset.test["x"][6:9]}
    computed, make = [], ood_statistics.make_statistics

    def counted(*arguments):
        def watched(name, statistic):
            return statistic._replace(compute=lambda *inputs: computed.append(name) or statistic.compute(*inputs))

        return {name: watched(name, statistic) for name, statistic in make(*arguments).items()}

    monkeypatch.setattr(ood_statistics, "make_statistics", counted)
    first = module.measure(config, scored, dataset, sets, tmp_path)
    assert computed.count("norms") == 3  # batches of 4 and 2, and of 3
    assert first["photos"]["norms"].shape == (3, 5)
    assert first["photos"].keys() == {"log p", "bound", "norms", "one step", "many steps", "path", "curvature",
                                      "code length"}  # fmt: skip
    ts = scored.schedule.time_at(jnp.asarray(config.log_snrs, jnp.float32))
    x = dataset.to_model(sets["calibration"])
    expected = typicality.score_norms(None, scored.denoiser, scored.schedule, x, ts)
    np.testing.assert_allclose(first["calibration"]["norms"], expected, rtol=1e-4)  # however they were cut in batches

    (tmp_path / "one_step.npz").unlink()
    computed.clear()
    again = module.measure(config, scored, dataset, sets, tmp_path)
    assert set(computed) == {"one step"}
    jax.tree.map(np.testing.assert_array_equal, again, first)
    for change in (lambda: override(config, "path_steps", "7"), lambda: sets.update(photos=sets["photos"][::-1])):
        computed.clear()
        change()
        module.measure(config, scored, dataset, sets, tmp_path)
        assert len(set(computed)) == 7


def test_the_density_of_flat_regions_along_the_flow():
    """Half of the values vary less than the noise of the smallest level, as black parts of images do."""
    schedule, d = schedules.cosine(), 64
    t_min = ood_model.first_time(schedule, 256)
    factor = jnp.diag(jnp.geomspace(0.01, 1.0, d))[:, d // 2 :]
    density = densities.gaussian(jnp.zeros(d), factor=factor, std=1e-4)
    x = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min)).sample(jax.random.key(0), (10,))
    along = ood_model.along_flow(denoisers.exact_denoiser(density, schedule), schedule, t_min, steps=10, probes=1)
    exact = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min)).log_density(x)
    np.testing.assert_allclose(jax.jit(along)(jax.random.key(1), x), exact, atol=0.05 * d)


def test_the_table_says_when_likelihood_prefers_what_is_foreign(program):
    """Simple images that are likelier than the data and noise that is less likely, both foreign to typicality."""
    module, config = program
    rng = np.random.default_rng(0)
    log_p = {"calibration": 0.0, "inside": 0.0, "noise": -9.0, "flat": 9.0}
    images = {name: np.zeros((200, 8, 8, 1), np.uint8) for name in log_p}
    found = {
        name: {"log p": mean + rng.normal(size=(200, 1)), "code length": np.full((200, 1), 100.0 - mean)}
        for name, mean in log_p.items()
    }
    rows = [
        ood_scores.Separation(score, name, area, area, area, area, area)
        for name in ("noise", "flat")
        for score, area in (("likelihood", float(name == "noise")), ("typicality |-log p - H|", 1.0), ("best", 0.9))
    ]
    outcome = module.Outcome("", images, found, "best", {}, rows, {}, None, [])
    table = ood_report.effect_table(outcome)
    names, _, _, likelier, typical, *areas = zip(*table.rows, strict=True)
    assert names == ("flat", "in distribution", "noise")
    np.testing.assert_allclose(likelier, [1.0, 0.5, 0.0], atol=0.01)
    np.testing.assert_allclose(typical, [0.0, 0.95, 0.0], atol=0.04)
    assert areas == [(0.0, None, 1.0), (1.0, None, 1.0), (0.9, None, 0.9)]
    assert "flat" in ood_report.as_text(config, outcome)


def test_statistics_that_determine_each_other_are_decorrelated():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 2)) @ np.array([[3.0, 1.0], [0.0, 0.2]]) + 5.0
    known = {"a": np.concatenate([a, a[:, :1]], axis=1)}
    components = ood_scores._decorrelated(lambda found: found["a"], known)
    deviation = np.cov(components(known), rowvar=False)
    np.testing.assert_allclose(deviation, np.diag([0.0, 1.0, 1.0]), atol=0.05)
    np.testing.assert_allclose(components(known).mean(axis=0), 0.0, atol=1e-9)


@pytest.mark.slow
def test_a_network_is_trained_once_and_then_loaded(program, tmp_path):
    module, config = program
    for field, text in {
        "kind": "network", "train.network.channels": "8", "train.training.steps": "2", "train.training.batch_size": "8",
        "train.training.warmup_steps": "1", "train.training.log_every": "1", "train.training.checkpoint_every": "2",
        "train.sampling.steps": "2",
    }.items():  # fmt: skip
        override(config, field, text)
    dataset = ood_data.Inside("sklearn_digits", 8, 17)
    x, t = dataset.to_model(dataset.test["x"][:4]), 0.5
    first = module.open_model(config, dataset, tmp_path).denoiser(x, t)
    assert first.x0.shape == (4, 8, 8, 1)
    assert (tmp_path / "model" / "checkpoints").is_dir()
    again = module.open_model(config, dataset, tmp_path).denoiser(x, t)
    np.testing.assert_array_equal(first.eps, again.eps)
    # the same folder as a run of experiments.train
    override(config, "run", str(tmp_path / "model"))
    loaded = module.open_model(config, dataset, tmp_path / "elsewhere")
    np.testing.assert_allclose(loaded.denoiser(x, t).eps, first.eps, atol=1e-5)
    assert "step 2" in loaded.name


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("near", "()", r"config.near=\(\): must be at least one set"),
        ("near", "upside_down", r"config.near=\('upside_down',\): must be of mirrored, shifted"),
        ("path_steps", "1", "config.path_steps=1: must be >= 2"),
        ("curvature_levels", "9", "config.curvature_levels=9: must be from 1 to the 5"),
        ("probes", "0", "config.probes=0: must be >= 1"),
        ("inside", "mnist", "config.train.data.name=sklearn_digits: must be mnist"),
    ],
)
def test_refusals(program, field, text, message):
    module, config = program
    override(config, field, text)
    with pytest.raises(ConfigError, match=message):
        module.check(config)


def test_an_unknown_kind_or_set_is_told(program):
    module, config = program
    dataset = ood_data.Inside("sklearn_digits", 8, 17)
    override(config, "kind", "gausian")
    with pytest.raises(ConfigError, match=r"must be one of network, gaussian, mixture \(did you mean gaussian\?\)"):
        module.open_model(config, dataset, None)
    with pytest.raises(ConfigError, match="photo: must be one of photos, sklearn_digits, mnist, fashion_mnist"):
        ood_data.load_images("photo", "test", 8, 17)
    with pytest.raises(ConfigError, match=r"config\.side=16: must be at most 8"):
        ood_data.load_images("sklearn_digits", "test", 16, 17)


def test_resizing_is_the_mean_over_areas():
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1))
    exact = images.reshape(3, 7, 4, 7, 4, 1).mean(axis=(2, 4))
    np.testing.assert_allclose(ood_data.resize(images, 7), exact)
    fine = images.repeat(2, axis=1).repeat(2, axis=2).astype(float)  # 56 = 8 x 7: the same areas
    np.testing.assert_allclose(ood_data.resize(images, 8), fine.reshape(3, 8, 7, 8, 7, 1).mean(axis=(2, 4)))
    np.testing.assert_array_equal(ood_data.requantise(np.array([0.0, 127.4, 255.0]), 256, 17), [0, 8, 16])
    with pytest.raises(ValueError, match="side must be <= 28"):
        ood_data.resize(images, 32)


def test_idx_files(tmp_path, monkeypatch):
    monkeypatch.setenv("SCOREKIT_CACHE", str(tmp_path))
    folder = tmp_path / "mnist"
    folder.mkdir()
    images = np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28)
    (folder / "t10k-images-idx3-ubyte").write_bytes(
        bytes([0, 0, 8, 3]) + np.array([2, 28, 28], ">i4").tobytes() + images.tobytes()
    )
    (folder / "t10k-labels-idx1-ubyte").write_bytes(
        bytes([0, 0, 8, 1]) + np.array([2], ">i4").tobytes() + bytes([7, 3])
    )
    x, label = ood_data.read_fetched("mnist", "test")
    np.testing.assert_array_equal(x[..., 0], images)
    assert label.tolist() == [7, 3]
