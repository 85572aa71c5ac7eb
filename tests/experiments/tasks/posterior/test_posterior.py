"""The task posterior: a run from training to samples given observations, and its exact density."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_configs
from programs import changed, error_of, fails, succeeds

from experiments.cli.config import save_resolved
from experiments.data.dataset import rows_of
from experiments.tasks.posterior import metrics
from experiments.tasks.posterior import task as task
from experiments.tasks.posterior.model import Posterior
from experiments.tasks.task import Run


def untrained(seed, *fields):
    """A posterior with random parameters."""
    config = changed(small_configs.posterior(), "data.simulations=200", *fields)
    dataset = task.load(config)
    setup = task.build(config, dataset)
    shapes = jax.eval_shape(setup.trained.init, jax.random.key(0))
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jnp.asarray(0.1 * rng.normal(size=leaf.shape), leaf.dtype), shapes)
    return Posterior(config, Run(dataset, setup.model, setup.generate, params, 0))


@pytest.mark.slow
def test_the_density_of_bounded_parameters_integrates_to_one_and_is_zero_outside():
    """In two dimensions by a grid that is even in unconstrained parameters, whatever the network is."""
    found, observed = untrained(0), {"x": np.array([[0.1, 0.2]])}
    limits = found.dataset.statistics.bounds
    edge = np.linspace(-13, 13, 41)
    u = np.stack(np.meshgrid(edge, edge), axis=-1).reshape(-1, 2)
    theta = limits.from_unconstrained(jnp.asarray(u))
    density = found.log_prob(np.asarray(theta)[None], observed)[0] - np.asarray(limits.log_det(theta))
    total = np.exp(density).sum() * (edge[1] - edge[0]) ** 2
    assert total == pytest.approx(1, abs=0.05)
    assert found.log_prob(np.array([[[1.2, 0.0]]]), observed).tolist() == [[-np.inf]]


def test_a_column_of_an_observation_may_be_called_label(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "table.npz", theta=rng.normal(size=(60, 2)), label=rng.normal(size=(60, 1)))
    found = untrained(0, "data.name=table", f"data.path={tmp_path}/table.npz", "data.condition=label")
    one = found.conditions({"label": np.array([[0.5]])}, 2)
    other = found.conditions({"label": np.array([[-0.5]])}, 2)
    assert not np.array_equal(one["vector"], other["vector"])
    of_rows = found.conditions(rows_of(found.dataset.test, slice(3)), 1)
    assert [len(leaf) for leaf in jax.tree.leaves(of_rows)] == [3] * len(jax.tree.leaves(of_rows))


@pytest.mark.slow
def test_a_run_is_trained_evaluated_and_sampled_given_observations(tmp_path):
    workdir = tmp_path / "run"
    save_resolved(small_configs.posterior(), workdir / "start.json")
    succeeds("train", f"--config={workdir}/start.json", f"--workdir={workdir}")
    values = json.loads((workdir / "evaluation.json").read_text())
    assert set(values["coverage"]) == {"theta_1", "theta_2", "distance (TARP)", "density"}
    assert np.isfinite(values["log p(theta | x) of held-out rows"])
    (tmp_path / "o.csv").write_text("x\n0.1\n")
    words = f"--observation={tmp_path}/o.csv: observation must have 2 columns of x, got shape (1, 1)"
    assert words in fails("sample", f"--workdir={workdir}", f"--observation={tmp_path}/o.csv")
    np.savez(tmp_path / "o.npz", x=[[0.1, 0.2], [-0.3, 0.0]])
    succeeds("sample", f"--workdir={workdir}", f"--observation={tmp_path}/o.npz", "--num=30")
    with np.load(workdir / "samples" / "sample.npz") as file:
        assert file["x"].shape == (60, 2)
        assert np.abs(file["x"]).max() < 1
        assert file["label"].tolist() == [0] * 30 + [1] * 30
        samples, log_prob = file["x"].reshape(2, 30, 2), file["log_prob"].reshape(2, 30)
    again = task.open_posterior(workdir)
    np.testing.assert_allclose(again.log_prob(samples, {"x": np.array([[0.1, 0.2], [-0.3, 0.0]])}), log_prob, atol=1e-2)
    (workdir / "statistics.json").unlink()
    assert "must hold statistics.json" in error_of(lambda: task.open_posterior(workdir))


def test_calibration_accepts_exact_samples_and_finds_narrow_ones():
    """The tests that a report shows, on exact posteriors in place of a model's."""
    rng, found = np.random.default_rng(0), untrained(0, "data.simulator=gaussian_linear", "data.simulations=4000")
    config = changed(
        small_configs.posterior(), "evaluation.densities=0", "evaluation.observations=300", "evaluation.samples=99"
    )

    def exact(narrow):
        def sample(seed, rows, number):
            x = found.dataset.conditions_of(rows)["condition"]
            return x[:, None] / 2 + narrow * np.sqrt(0.05) * rng.normal(size=(len(x), number, x.shape[1]))

        return SimpleNamespace(config=config, dataset=found.dataset, sample=sample)

    right, wrong = (metrics.calibration(exact(narrow), 0).p_values for narrow in (1.0, 0.8))
    assert min(right.values()) > 1e-3
    assert wrong["distance (TARP)"] < 0.05
    assert min(wrong.values()) < 1e-4


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (("data.name=ring", "conditions.vector.name=none"), "config.data.name=ring: must be table or simulator"),
        (("data.name=table",), "config.data.condition=None: must be set for config.task=posterior"),
        (
            ("conditions.vector.name=none",),
            "config.conditions: must have vector.name=columns for two_moons",
        ),
        (("conditions.tokens.name=set",), "got vector.name=columns and tokens.name=set"),
    ],
)
def test_the_data_of_a_posterior_are_validated_before_anything_is_trained(tmp_path, fields, words):
    np.savez(tmp_path / "t.npz", a=np.arange(60.0), b=np.arange(60.0))
    path = [f"data.path={tmp_path}/t.npz"] if "data.name=table" in fields else []
    config = changed(small_configs.posterior(), *fields, *path)
    assert words in error_of(lambda: task.build(config, task.load(config)))
