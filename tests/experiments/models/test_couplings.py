"""Couplings of a config: what training pairs, where sampling starts, and what needs a score is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import validate

from experiments.cli.config import ConfigError
from experiments.configs.images import digits, digits_bridge
from experiments.configs.points import coupled_2d
from experiments.data import load
from experiments.models import checks, runs
from experiments.models.loss import make_prepare
from experiments.models.model import build_model, init_params
from experiments.models.sampling import make_sampler
from scorekit import process


def small(module):
    config = module.get_config()
    if config.network.name == "mlp":
        config.network.update(features=8, blocks=1)
    else:
        config.network.channels = 8
    config.sampling.update(batch_size=4, steps=2)
    return config


def prepared(config, batch):
    model = build_model(config, load(config))
    return model, jax.jit(make_prepare(model, load(config)))(jax.random.key(1), batch)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.5, 1.0])
def test_transport_shortens_the_way_and_keeps_classes_unless_nothing_sees_them(dropout):
    config = small(coupled_2d)
    config.loss.label_dropout = dropout
    config.loss.coupling.block_size = 16
    labels = jnp.arange(16) % 2
    batch = {"x": jnp.where(labels[:, None] == 0, -3.0, 3.0) * jnp.ones((16, 2)), "label": labels}
    _, paired = prepared(config, batch)
    config.loss.coupling.update(name="independent", block_size=None)
    _, plain = prepared(config, batch)
    way = lambda found: float(jnp.sum((found["x"] - found["eps"]) ** 2))
    of_first = [np.sort(found["eps"][labels == 0], 0) for found in (paired, plain)]
    same = np.allclose(*of_first, rtol=1e-5, atol=1e-6)
    assert same == (dropout < 1)
    assert way(paired) < way(plain) if dropout == 1 else way(paired) <= way(plain) + 1e-3


@pytest.mark.slow
def test_a_bridge_trains_between_the_example_and_its_map_and_starts_there():
    config = small(digits_bridge)
    checks.check(config)
    dataset = load(config)
    batch = {"x": dataset.test["x"][:4], "label": dataset.test["label"][:4]}
    model, found = prepared(config, batch)
    end = found["conditions"]["dense_map"].value
    t = jnp.ones(4)
    noise = model.coupling.noise(
        model.schedule, found["x"], found["eps"], t, {"dense_map": found["conditions"]["dense_map"]}
    )
    np.testing.assert_allclose(process.perturb(found["x"], noise, t, model.schedule), end, atol=1e-5)
    params = init_params(model, jax.random.key(0))
    given = {"labels": np.asarray(batch["label"]), "dense_map": found["conditions"]["dense_map"]}
    states, _ = make_sampler(config, model, dataset)(params, 0, jax.tree.map(np.asarray, given), 1.0, trajectory=True)
    np.testing.assert_allclose(states[0], end, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "changes", "words"),
    [
        (
            coupled_2d,
            {"loss.target.name": "eps", "sampling.grid.t_max": 0.99},
            "loss.target.name=eps: must be velocity, v, x0 or edm",
        ),
        (coupled_2d, {"sampling.solver.name": "ancestral"}, "a deterministic solver for loss.coupling.name=optimal"),
        (
            coupled_2d,
            {
                "schedule.name": "learned",
                "loss.weighting.name": "likelihood",
                "loss.times.t_min": 0.0,
                "loss.times.t_max": 1.0,
            },
            "which has no variational bound",
        ),
        (coupled_2d, {"guidance": ("classifier",)}, "which gives no score"),
        (coupled_2d, {"loss.coupling.block_size": 0}, "config.loss.coupling.block_size=0"),
        (digits_bridge, {"data.map.name": "none"}, "the map that the bridge starts at"),
        (
            digits_bridge,
            {
                "schedule.name": "rectified_flow",
                "schedule.sigma_min": None,
                "schedule.sigma_max": None,
                "schedule.rho": None,
                "loss.target.name": "v",
            },
            "one with signal at t = 1",
        ),
        (digits_bridge, {"sampling.solver.name": "heun"}, "sampling.solver.name=heun: must be ancestral"),
        (digits_bridge, {"sampling.solver.eta": 0.5}, "sampling.solver.eta=0.5: must be 1"),
        (digits_bridge, {"sampling.grid.t_max": 0.5}, "which starts at the map"),
        (digits_bridge, {"loss.map_noise": 0.5}, "whose map is the start of every path"),
        (digits, {"loss.coupling.name": "no"}, "config.loss.coupling.name=no"),
    ],
)
def test_what_does_not_fit_together_is_named(module, changes, words):
    config = module.get_config()
    with config.unlocked():
        for path, value in changes.items():
            config.update_from_flattened_dict({path: value})
    with pytest.raises(ConfigError, match=words.replace("(", r"\(")):
        validate(config, checks.check)


def test_a_map_of_another_shape_is_no_end_of_a_bridge():
    config = small(digits_bridge)
    config.data.map.name = "average_pool"
    with pytest.raises(ConfigError, match=r"data.map.name=average_pool: must be a map of shape \(8, 8, 1\)"):
        build_model(config, load(config))


def test_programs_that_need_a_score_say_so():
    runs.check_score(digits.get_config(), "--workdir=a")
    with pytest.raises(ConfigError, match=r"--workdir=a: a model of config.loss.coupling.name=bridge has no score"):
        runs.check_score(digits_bridge.get_config(), "--workdir=a")
