"""Flow maps of a config: every loss trains the two-time network, and only what fits together is accepted."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parameters import random_params
from programs import changed

from experiments import data
from experiments.configs.images import smoke
from experiments.configs.points import mixture_2d
from experiments.models.conditioning import GUIDANCE
from experiments.tasks.diffusion import checks
from experiments.tasks.diffusion.build import build_model
from experiments.tasks.diffusion.fields import FLOW_MAPS
from experiments.tasks.diffusion.loss import make_loss, make_prepare
from experiments.tasks.flow_maps.model import guided_velocity
from scorekit import densities, flow_maps, schedules, times, training
from scorekit.typing import Prediction

SMALL = changed(mixture_2d.get_config("shortcut"), "network.features=8", "network.blocks=1", "sampling.batch_size=16")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["consistency_tuning", "drifting", "improved_mean_flow", "stable_consistency"])
def test_loss_and_gradient_are_finite_and_reach_the_second_time(name):
    config = changed(SMALL, f"loss.flow_map.name={name}")
    dataset = data.build(config)
    checks.build(config, dataset)
    model = build_model(config, dataset)
    params = random_params(model, 0.3)
    prepare, loss = make_prepare(model, dataset), make_loss(model)
    batch = {"x": jax.random.normal(jax.random.key(3), (32, 2)), "label": jnp.zeros(32, jnp.int32)}

    @jax.jit
    def run(params):
        prepared = prepare(jax.random.key(1), batch)
        return jax.value_and_grad(lambda p: loss(p, prepared)[0].mean())(params)

    value, slopes = run(params)
    assert value > 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(slopes["params"]["conditioning"]["scalars"]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["eulerian", "lagrangian", "progressive", "shortcut"])
def test_from_data_the_diagonal_is_flow_matching_and_the_rest_follows_the_map_itself(name):
    schedule, gaussian = schedules.Cosine(), densities.gaussian(jnp.array([0.3, -1.0]), std=0.5)
    found = FLOW_MAPS[name](diagonal=0.5, power=0.0)
    drawn = found.draw(jax.random.key(0), 12, times.Uniform(t_min=0.05, t_max=0.95), schedule)
    exact, (x0, eps) = flow_maps.exact_map(gaussian, schedule), jax.random.normal(jax.random.key(1), (2, 12, 2))
    other = lambda x, t, s=None: exact(x, t)  # jumps along the velocity at their start
    loss = lambda flow_map: lambda drawn: found.loss(flow_map, schedule, x0, eps, drawn, jnp.ones(12))
    losses, of_other = jax.jit(lambda drawn: (loss(exact)(drawn), loss(other)(drawn)))(drawn)
    alpha, sigma = schedule.alpha(drawn["t"])[:, None], schedule.sigma(drawn["t"])[:, None]
    pair = exact(alpha * x0 + sigma * eps, drawn["t"])
    matching = jnp.mean((pair.eps - pair.x0 - (eps - x0)) ** 2, axis=-1)
    np.testing.assert_allclose(losses[:6], matching[:6], rtol=1e-3)
    longer = np.asarray(flow_maps.clock(schedule, drawn["t"]) - flow_maps.clock(schedule, drawn["s"]))[6:] > 0.05
    assert longer.sum() >= 2
    np.testing.assert_allclose(losses[6:][longer], 0.0, atol=1e-5)
    assert of_other[6:][longer].max() > 1e-3


@pytest.mark.slow
def test_velocity_of_a_scale_is_that_of_guidance_by_the_map_itself():
    """``gamma v + (1 - gamma) v_u``, ``v`` of the example and ``v_u`` of the map without conditions."""
    config = changed(SMALL, "loss.guidance_max=4.0")
    model = build_model(config, data.build(config))
    params = random_params(model, 0.3)
    x, eps = jax.random.normal(jax.random.key(0), (2, 16, 2))
    scale, t = jnp.linspace(1.0, 4.0, 16), jnp.full(16, 0.5)
    x_t = model.schedule.alpha(t)[:, None] * x + model.schedule.sigma(t)[:, None] * eps
    absent = model.flow_map(params, jnp.full(16, model.num_classes))(x_t, t)

    def velocity(x0, eps):
        return guided_velocity(model, params, {"x": x0, "eps": eps, "conditions": {GUIDANCE: scale}})(x_t, t)

    expected = jax.tree.map(lambda e, u: u + scale[:, None] * (e - u), Prediction(x, eps), absent)
    chex.assert_trees_all_close(velocity(x, eps), expected, atol=1e-4)
    same = velocity(*absent)  # an example like the map without conditions: no γ changes it
    chex.assert_trees_all_close(same, absent, atol=1e-4)


ADVERSARIAL = (
    "loss.flow_map.name=adversarial",
    "loss.flow_map.windows=4,8",
    "loss.flow_map.channels=4",
    "loss.flow_map.depth=1",
    "guidance=conditional",
    "sampling.solver.name=flow_map",
    "sampling.grid.name=uniform",
    "sampling.guidance_scale=1.0",
    "sampling.steps=1",
    "evaluation.guidance_scales=1.0",
)


@pytest.mark.slow
def test_generator_and_discriminators_get_their_own_gradients():
    config = changed(smoke, *ADVERSARIAL, "loss.flow_map.penalty=0.3")
    dataset = data.build(config)
    checks.build(config, dataset)
    model = build_model(config, dataset)
    params = random_params(model, 0.2)
    prepared = jax.jit(make_prepare(model, dataset))(jax.random.key(1), dataset.batch(0, 0, 8))
    given, place, noise = prepared["conditions"], prepared["place"], model.schedule.sigma(1.0) * prepared["eps"]

    def parts(network, critic):
        """The loss of the generator, and of the discriminators, written out."""
        samples = flow_map({**params, **network}, noise, jnp.ones(8), jnp.zeros(8)).x0
        logits = lambda x: model.objective.critic.logits({"critic": critic}, given, place, x)
        softplus = lambda x, sign: sum(jnp.mean(jax.nn.softplus(sign * each)) for each in logits(x))
        mean = lambda x: sum(each.mean(1) for each in logits(x)).sum()
        penalty = 0.5 * jnp.sum(jax.grad(mean)(prepared["x"]) ** 2) / 8
        return softplus(samples, -1), softplus(prepared["x"], -1) + softplus(samples, 1) + 0.3 * penalty

    flow_map = lambda params, x, t, s: model.denoiser(params, given)(x, t, s)
    network = {name: leaf for name, leaf in params.items() if name != "critic"}
    loss = lambda params: make_loss(model)(params, prepared)[0].mean()
    value, slopes = jax.jit(jax.value_and_grad(loss))(params)
    of_network = jax.jit(jax.grad(lambda network: parts(network, params["critic"])[0]))(network)
    of_critic = jax.jit(jax.grad(lambda critic: parts(network, critic)[1]))(params["critic"])
    np.testing.assert_allclose(value, sum(jax.jit(parts)(network, params["critic"])), rtol=1e-4)
    for name, expected in {**of_network, "critic": of_critic}.items():
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
        jax.tree.map(close, slopes[name], expected)
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(expected)) > 1e-3


@pytest.mark.slow
@pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices")
def test_drift_of_a_batch_does_not_depend_on_the_number_of_devices():
    config = changed(SMALL, "loss.flow_map.name=drifting", "loss.guidance_max=3.0", "loss.flow_map.kernel=gaussian")
    dataset = data.build(config)
    checks.build(config, dataset)
    model = build_model(config, dataset)
    params, found, optimizer = random_params(model, 0.3), [], optax.sgd(1.0)
    prepare, loss = make_prepare(model, dataset, {"labels": 0.25}), make_loss(model)
    for mesh in (training.make_mesh(1, jax.devices()[:1]), training.make_mesh(2, jax.devices()[:4])):
        state = training.init_state(jax.random.key(0), jax.tree.map(jnp.array, params), optimizer, (0.9,))
        step = training.make_train_step(prepare, loss, optimizer, mesh=mesh)
        state, metrics = step(state, dataset.batch(0, 0, 32))
        found.append(jax.tree.map(np.asarray, (state.params, metrics["loss"])))
    chex.assert_trees_all_close(*found, rtol=1e-4, atol=1e-5)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), found[0][0], params)
    assert max(jax.tree.leaves(moved)) > 1e-3
