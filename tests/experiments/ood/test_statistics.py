"""Statistics of sets of images are saved one at a time, and a stopped measurement continues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.cli.command_line import override
from experiments.ood import statistics
from experiments.ood.data import InDistribution
from experiments.ood.model import open_model
from scorekit import typicality


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
    assert first["photos"].keys() == {"log p", "bound", "norms", "one step", "many steps", "path", "curvature",
                                      "code length"}  # fmt: skip
    ts = scored.schedule.time_at(jnp.asarray(config.log_snrs, jnp.float32))
    x = dataset.to_model(sets["calibration"])
    expected = jax.jit(lambda x: typicality.score_norms(None, scored.denoiser, scored.schedule, x, ts))(x)
    np.testing.assert_allclose(first["calibration"]["norms"], expected, rtol=1e-4)  # whatever the batches

    (tmp_path / "one_step.npz").unlink()
    count(lambda name, statistic, *inputs: statistic.compute(*inputs))
    again = measure()
    assert set(computed) == {"one step"}
    jax.tree.map(np.testing.assert_array_equal, again, first)
    for change in (lambda: override(config, "path_steps", "7"), lambda: sets.update(photos=sets["photos"][::-1])):
        count(lambda *_: np.zeros((4, 1)))
        change()
        measure()
        assert len(set(computed)) == 7
