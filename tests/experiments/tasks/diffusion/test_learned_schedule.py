"""A schedule that is trained with the network: on Gaussian data, where bound, variance and their gradients are known.

With data N(0, std^2) and the exact network the error of eps has variance ``v = r / (1 + r)`` in each of D dimensions,
where ``r = snr std^2``.
"""

import dataclasses
import math
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import changed

from experiments import data
from experiments.configs.points import mixture_2d
from experiments.models.run_files import restore
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.fine_tuning import initial_params
from experiments.tasks.diffusion.loss import make_loss
from experiments.tasks.diffusion.model import Model
from experiments.tasks.diffusion.objectives import Bound
from experiments.tasks.diffusion.runs import as_loaded, open_run
from scorekit import io, likelihood, losses, predictions, schedules, times, weightings
from scorekit.io.preconditioning import LogSNRInput

STD, DIM, FIRST, LAST = 1.5, 32, 2.0, -2.5


class Exact:
    """The exact network of the noise, called with the log-SNR; its output is scaled, so that it has a parameter."""

    def apply(self, params, x, noise, labels):
        log_snr = jnp.reshape(noise, (-1, 1))
        alpha, sigma = (jnp.sqrt(jax.nn.sigmoid(value)) for value in (log_snr, -log_snr))
        return params["scale"] * sigma * x / (alpha**2 * STD**2 + sigma**2)


MODEL = Model(
    module=Exact(),  # type: ignore[arg-type]
    schedule=schedules.learned(5, FIRST, LAST),
    target=predictions.as_target("eps"),
    noise_input=LogSNRInput(scale=1.0),
    sigma_data=None,
    num_classes=1,
    shape=(DIM,),
    extracts={},
    objective=Bound(times.Uniform(t_min=0.0, t_max=1.0)),
)
BENT = {"heights": [0.3, -0.5, 0.2, 0.0, 0.4], "slopes": [0.5, -0.2, 0.1, 0.7, 0.0, -0.3]}


def parameters(**changes):
    found = {"log_snr_max": FIRST, "log_snr_min": LAST, "heights": np.zeros(5), "slopes": np.zeros(6), **changes}
    return {"scale": jnp.float32(1.0), "schedule": {name: jnp.asarray(v, jnp.float32) for name, v in found.items()}}


def prepared(key, n):
    for_times, for_noise, for_data = jax.random.split(key, 3)
    return {
        "x": STD * jax.random.normal(for_data, (n, DIM)),
        "conditions": {"labels": jnp.zeros(n, jnp.int32)},
        "eps": jax.random.normal(for_noise, (n, DIM)),
        "t": times.stratified_uniform(for_times, n),
        "weight": jnp.ones(n),
    }


def r(log_snr):
    return STD**2 * math.exp(log_snr)


def _mean(params, batch):
    value, _ = make_loss(MODEL)(params, batch)
    return value.mean(), value


GRADIENT = jax.jit(jax.grad(_mean, has_aux=True))
BATCH = jax.jit(prepared, static_argnums=1)
N = 40_000


def diffusion_loss(params, batch):
    """The diffusion losses: ``-1/2 dlog_snr/dt ||eps - eps_hat||^2`` per dimension."""
    schedule = dataclasses.replace(MODEL.schedule, **params["schedule"])
    network = lambda x, t: Exact().apply(params, x, schedule.log_snr(t), 0)
    drawn = times.Times(batch["t"], -0.5 * jax.vmap(jax.grad(schedule.log_snr))(batch["t"]))
    x, eps = batch["x"], batch["eps"]
    return losses.denoising_loss_at(network, schedule, x, eps, drawn, target="eps", weighting=weightings.eps)[0]


@pytest.mark.slow
def test_the_ends_follow_the_gradient_of_the_bound():
    """``log p`` is bounded by ``(log 2 pi e - max + int v + r(min)) / 2`` per dimension, whatever is between."""
    for changes in ({}, BENT):
        gradient, value = GRADIENT(parameters(**changes), BATCH(jax.random.key(0), N))
        integral = math.log1p(r(FIRST)) - math.log1p(r(LAST))
        exact = 0.5 * (math.log(2 * math.pi * math.e) - FIRST + integral + r(LAST))
        np.testing.assert_allclose(value.mean(), exact, rtol=3e-3)
        found = gradient["schedule"]
        np.testing.assert_allclose(found["log_snr_max"], -0.5 / (1.0 + r(FIRST)), atol=1.5e-3)
        np.testing.assert_allclose(found["log_snr_min"], 0.5 * r(LAST) ** 2 / (1.0 + r(LAST)), atol=1.5e-3)


@pytest.mark.slow
def test_the_interior_follows_the_gradient_of_the_squared_losses_and_the_network_that_of_the_losses():
    params, batch = parameters(**BENT), BATCH(jax.random.key(1), N)
    gradient, _ = GRADIENT(params, batch)

    @jax.jit
    def gradients(params):
        value, pullback = jax.vjp(lambda params: diffusion_loss(params, batch), params)
        return [pullback(cotangent / value.size)[0] for cotangent in (2.0 * value, jnp.ones_like(value))]

    squared, plain = gradients(params)
    for name in ("heights", "slopes"):
        assert np.abs(squared["schedule"][name]).max() > 0.05
        np.testing.assert_allclose(gradient["schedule"][name], squared["schedule"][name], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(gradient["scale"], plain["scale"], rtol=1e-4)


def test_discrete_data_are_decoded_at_the_trained_end(monkeypatch):
    given, zeros = [], (jnp.zeros(16), jnp.zeros(16))
    record = lambda schedule, x, eps, bins: given.append((schedule.log_snr_max, bins)) or zeros
    monkeypatch.setattr(likelihood, "boundary_terms", record)
    batch = jax.eval_shape(lambda: prepared(jax.random.key(0), 16))
    jax.eval_shape(make_loss(replace(MODEL, bins=3)), params := parameters(), batch)
    ((end, bins),) = given
    assert bins == 3
    assert isinstance(end, jax.core.Tracer)  # of the parameters
    assert params["schedule"]["log_snr_max"] == FIRST


@pytest.mark.slow
def test_a_run_is_opened_with_its_trained_schedule(tmp_path):
    fields = """
        loss.objective=bound schedule.name=learned schedule.num_knots=3 schedule.log_snr_max=6 schedule.log_snr_min=-5
        loss.weighting.name=likelihood loss.times.t_min=0 network.features=8 network.blocks=1
        training.steps=20 training.batch_size=16 training.warmup_steps=0 training.learning_rate=0.05
        training.checkpoint_every=20 training.ema_decays=0.9, sampling.ema=0.9 sampling.steps=4
        sampling.solver.name=ddim sampling.grid.name=log_snr guidance=conditional
    """
    config = changed(mixture_2d, *fields.split())
    dataset, labels = data.build(config), np.arange(4, dtype=np.int32)
    setup = diffusion.build(config, dataset)
    model, generate = setup.model, setup.generate  # as for the images of training
    params = diffusion.train(config, dataset, setup, tmp_path / "run")
    drawn = generate(params, 0, labels, 1.0)

    run = open_run(diffusion.saved(str(tmp_path / "run")), tmp_path / "run")
    np.testing.assert_array_equal(run.generate(run.params, 0, labels, 1.0), drawn)
    untrained = {**params, "schedule": model.init(jax.random.key(0))["schedule"]}
    assert np.abs(generate(untrained, 0, labels, 1.0) - drawn).max() > 1e-3
    schedule, (_, last) = run.model.schedule, restore("--workdir", tmp_path / "run", None, "none")
    for name, value in params["schedule"].items():
        assert np.abs(value - np.asarray(getattr(model.schedule, name))).max() > 0.01, name
        np.testing.assert_array_equal(getattr(schedule, name), value)
        assert np.any(np.asarray(value) != last["schedule"][name]), name  # the average, not the last step

    io.export(tmp_path / "weights", as_loaded(run))
    loaded = io.load(tmp_path / "weights")
    chex.assert_trees_all_equal(loaded.schedule, schedule)
    config.init_from = str(tmp_path / "weights")
    chex.assert_trees_all_equal(initial_params(config, model, jax.random.key(0)), run.params)
