"""The model that scores images, and statistics of sets, which are saved one at a time and continue."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from picture_runs import transformer

from experiments.cli.command_line import override
from experiments.projects.ood import statistics
from experiments.projects.ood.data import InDistribution
from experiments.projects.ood.model import along_flow, first_time, open_model
from scorekit import denoisers, densities, schedules, typicality


@pytest.mark.slow
def test_density_along_the_flow_is_accurate_in_flat_regions():
    """Half of the values vary less than the noise of the smallest level, as black parts of images do."""
    schedule, d = schedules.cosine(), 64
    t_min = first_time(schedule, 256)
    factor = jnp.diag(jnp.geomspace(0.01, 1.0, d))[:, d // 2 :]
    density = densities.gaussian(jnp.zeros(d), factor=factor, std=1e-4)
    noisy = density.marginal(schedule.alpha(t_min), schedule.sigma(t_min))
    x = noisy.sample(jax.random.key(0), (10,))
    log_density = along_flow(denoisers.exact_denoiser(density, schedule), schedule, t_min, steps=10, probes=1)
    np.testing.assert_allclose(jax.jit(log_density)(jax.random.key(1), x), noisy.log_density(x), atol=0.05 * d)


@pytest.mark.slow
def test_network_is_trained_once_and_then_loaded(make_config, tmp_path):
    config = make_config(kind="network")
    transformer(config.train)
    config.train.training.update(steps=2, batch_size=8, warmup_steps=1, log_every=1, checkpoint_every=2)
    dataset = InDistribution("sklearn_digits", 8, 17)
    x, t = dataset.to_model(dataset.test["x"][:4]), 0.5
    predict = jax.jit(lambda denoiser, x: denoiser(x, t))
    first = predict(open_model(config, dataset, tmp_path).denoiser, x)
    assert first.x0.shape == (4, 8, 8, 1)
    assert (tmp_path / "model" / "checkpoints").is_dir()
    again = predict(open_model(config, dataset, tmp_path).denoiser, x)
    np.testing.assert_array_equal(first.eps, again.eps)
    # the same folder as a run of experiments.train
    override(config, "run", str(tmp_path / "model"))
    loaded = open_model(config, dataset, tmp_path / "elsewhere")
    np.testing.assert_allclose(predict(loaded.denoiser, x).eps, first.eps, atol=1e-5)
    assert "step 2" in loaded.name


@pytest.mark.slow
def test_likelihood_by_a_map_is_a_statistic_of_its_own(make_config):
    config, dataset = make_config(side="4", rank="8"), InDistribution("sklearn_digits", 4, 17)
    scored, x = open_model(config, dataset, None), dataset.to_model(dataset.test["x"][:4])
    found = statistics.make_statistics(config, scored._replace(map_density=scored.log_density), 17)
    by_map, by_flow = (found[name].compute(jax.random.key(0), x) for name in ("map log p", "log p"))
    np.testing.assert_array_equal(by_map, by_flow)
    assert "map log p" not in statistics.make_statistics(config, scored, 17)


@pytest.mark.slow
def test_measure_continues_unless_the_config_or_a_set_has_changed(make_config, tmp_path, monkeypatch):
    config = make_config(batch_size="4", side="4", rank="8")
    dataset = InDistribution("sklearn_digits", 4, 17)
    scored = open_model(config, dataset, None)
    sets = {"calibration": dataset.test["x"][:6], "photos": dataset.test["x"][6:9]}
    computed, make = [], statistics.make_statistics

    def count(compute):
        """Statistics that record their names; ``compute(name, statistic, *inputs)`` returns their values."""

        def make_counted(*arguments):
            def counted(name, statistic):
                return statistic._replace(compute=lambda *x: computed.append(name) or compute(name, statistic, *x))

            return {name: counted(name, statistic) for name, statistic in make(*arguments).items()}

        computed.clear()
        monkeypatch.setattr(statistics, "make_statistics", make_counted)

    def measure():
        return statistics.measure(config, scored, dataset, sets, tmp_path)

    count(lambda name, statistic, *inputs: statistic.compute(*inputs))
    first = measure()
    assert computed.count("norms") == 3  # batches of 4 and 2, and of 3
    assert first["photos"]["norms"].shape == (3, 5)
    assert first["photos"].keys() == {
        "log p",
        "bound",
        "norms",
        "one step",
        "many steps",
        "path",
        "curvature",
        "code length",
    }
    ts = scored.schedule.time_at(jnp.asarray(config.log_snrs, jnp.float32))
    x = dataset.to_model(sets["calibration"])
    expected = jax.jit(lambda x: typicality.score_norms(None, scored.denoiser, scored.schedule, x, ts))(x)
    np.testing.assert_allclose(first["calibration"]["norms"], expected, rtol=1e-4)  # whatever the batches

    (tmp_path / "one_step.npz").unlink()
    count(lambda name, statistic, *inputs: statistic.compute(*inputs))
    again = measure()
    assert set(computed) == {"one step"}
    chex.assert_trees_all_equal(again, first)
    for change in (lambda: override(config, "path_steps", "7"), lambda: sets.update(photos=sets["photos"][::-1])):
        count(lambda *_: np.zeros((4, 1)))
        change()
        measure()
        assert len(set(computed)) == 7
