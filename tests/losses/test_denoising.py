"""One objective in every form, at every noise level and both ends."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import B, D, in_float64

from scorekit import losses, schedules, times, weightings
from scorekit.predictions import TARGETS, EDMTarget
from scorekit.schedules import Cosine, RectifiedFlow
from scorekit.typing import Prediction

FORMS = {**TARGETS, "edm": EDMTarget(sigma_data=0.5)}
SCHEDULES = {
    "cosine": schedules.Cosine,
    "sub_vp": schedules.SubVP,
    "geometric_ve": schedules.GeometricVE,
    "rectified_flow": schedules.RectifiedFlow,
}
SCHEDULES["shifted"] = lambda: schedules.shifted(Cosine(s=0.008), 2.0)
WEIGHTINGS = {name: getattr(weightings, name) for name in ("eps", "x0", "v", "score", "truncated_snr", "flow")}
WEIGHTINGS |= {name: getattr(weightings, name)() for name in ("min_snr", "p2", "edm", "logit_normal")}
WEIGHTINGS["sigmoid"] = weightings.sigmoid(bias=-1.0)
UNIFORM, KEY = times.Uniform(t_min=0.02, t_max=0.98), jax.random.key(0)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
@in_float64
def test_the_loss_is_the_weighted_error_of_the_noise_for_every_target(name):
    """Of a network whose noise estimate is known, ``tanh(x_t)``, called at the times."""
    schedule, t, importance = SCHEDULES[name](), np.linspace(0.02, 0.98, B), np.linspace(1.0, 2.0, B)
    x0, eps = np.random.default_rng(0).normal(size=(2, B, D))
    alpha, sigma = (np.asarray(each(t))[:, None] for each in (schedule.alpha, schedule.sigma))
    error = np.mean((np.tanh(alpha * x0 + sigma * eps) - eps) ** 2, axis=1)

    def loss(form, weighting):
        def network(x_t, given):
            np.testing.assert_array_equal(given, t)
            estimate = Prediction((x_t - sigma * jnp.tanh(x_t)) / alpha, jnp.tanh(x_t))
            return form.from_prediction(estimate, given, schedule)

        drawn = times.Times(t, importance)
        return losses.denoising_loss_at(network, schedule, x0, eps, drawn, target=form, weighting=weighting)

    levels, v = schedule.log_snr(t), FORMS["v"]
    weights = {**WEIGHTINGS, "likelihood": weightings.likelihood(schedule)}
    cases = [(form, weightings.v) for form in FORMS.values()] + [(v, weight) for weight in weights.values()]
    for form, weight in cases:
        found, aux = loss(form, weight)
        np.testing.assert_allclose(aux.eps_mse, error, rtol=1e-9)
        np.testing.assert_allclose(aux.weight, importance * weight(levels), rtol=1e-9)
        np.testing.assert_allclose(found, importance * weight(levels) * error, rtol=1e-9)


@pytest.mark.parametrize("target", ["x0", "v", "velocity", "edm"])
@pytest.mark.parametrize("factory", [Cosine, RectifiedFlow])
def test_both_ends_are_finite_for_every_weighting(target, factory):
    schedule, rng = factory(), np.random.default_rng(0)
    x0, eps = (jnp.asarray(rng.normal(size=(B, D)), jnp.float32) for _ in range(2))
    drawn = times.Times(jnp.linspace(0.0, 1.0, B), jnp.ones(B))
    for name, weight in WEIGHTINGS.items():
        if (target, name) == ("x0", "score"):
            continue  # SNR^2 is infinite at t = 0
        run = lambda scale, weight=weight: losses.denoising_loss_at(
            lambda x, t: scale * x, schedule, x0, eps, drawn, target=FORMS[target], weighting=weight
        )
        loss, aux = run(0.5)
        assert np.all(np.isfinite(loss))
        assert np.all(np.isfinite(aux.eps_mse))
    assert np.isfinite(jax.grad(lambda s: run(s)[0].mean())(0.5))


def test_plain_losses_are_exact_at_both_ends():
    x0, eps = np.float32([[1.0, -2.0], [0.5, 0.3]]), np.float32([[0.4, 1.0], [-1.0, 2.0]])
    drawn = times.Times(np.float32([0.0, 1.0]), np.ones(2, np.float32))
    run = partial(losses.denoising_loss_at, lambda x, t: 0.5 * x, RectifiedFlow())
    kinds = {"velocity": weightings.flow, "x0": weightings.x0, "v": weightings.v}
    found = jax.jit(lambda *data: {k: run(*data, target=k, weighting=w)[0] for k, w in kinds.items()})(x0, eps, drawn)
    for target, truth in {"velocity": eps - x0, "x0": x0, "v": np.array([eps[0], -x0[1]])}.items():
        expected = np.mean((np.array([[0.5, -1.0], [-0.5, 1.0]]) - truth) ** 2, axis=1)
        np.testing.assert_allclose(found[target], expected, rtol=1e-5)


@cache
def losses_of_a_tree():
    """For each target: the loss of a tree, that of the flattened vector with the same noise, and the dtypes seen."""
    x0 = {"a": np.ones((4, 8, 2), np.float32), "b": np.ones((4,), jnp.bfloat16)}
    flat = lambda x: jnp.concatenate([x["a"].reshape(4, -1), x["b"].astype(jnp.float32)[:, None]], axis=1)
    dtypes = []

    def network(x, t):
        dtypes.append((x["a"].dtype, x["b"].dtype, t.dtype))
        return jax.tree.map(lambda leaf: 0.1 * leaf, x)

    @jax.jit
    def run(key, x0):
        key_a, key_b = jax.random.split(jax.random.split(key)[1])
        eps = {"a": jax.random.normal(key_a, (4, 8, 2)), "b": jax.random.normal(key_b, (4,), jnp.bfloat16)}
        found = {}
        for target, form in FORMS.items():
            loss, aux = losses.denoising_loss(key, network, Cosine(), x0, target=form, times=UNIFORM)
            drawn = times.Times(aux.t, jnp.ones(4))
            vectors = Cosine(), flat(x0), flat(eps), drawn
            same, _ = losses.denoising_loss_at(lambda x, t: 0.1 * x, *vectors, target=form)
            found[target] = loss, aux, same
        return found

    return run(jax.random.key(0), x0), dtypes


@pytest.mark.parametrize("target", list(FORMS))
def test_trees_and_bfloat16_data(target):
    found, dtypes = losses_of_a_tree()
    loss, aux, same = found[target]
    assert dtypes == [(jnp.float32, jnp.bfloat16, jnp.float32)] * len(FORMS)
    assert loss.shape == (4,)
    assert loss.dtype == aux.eps_mse.dtype == jnp.float32
    # The flattened vector has the same loss, up to the rounding of the bfloat16 leaf.
    np.testing.assert_allclose(loss, same, rtol=2e-2)


def test_default_times_are_stratified_over_the_interval():
    run = jax.jit(lambda key, x0: losses.denoising_loss(key, lambda x, t: x, Cosine(), x0)[1])
    aux = run(jax.random.key(0), np.ones((128, 1), np.float32))
    np.testing.assert_array_equal(np.sort(np.floor((np.asarray(aux.t) - 1e-4) / (1 - 1e-4) * 128)), np.arange(128))


def test_binning_sums_and_counts():
    rng = np.random.default_rng(0)
    values, level = rng.normal(size=200).astype(np.float32), rng.normal(scale=9, size=200).astype(np.float32)
    binned = losses.bin_by_noise_level(jnp.asarray(values), jnp.asarray(level))
    inside = np.clip(level, -12, 11.999)
    np.testing.assert_allclose(binned.sum, np.histogram(inside, 12, (-12, 12), weights=values)[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(binned.count, np.histogram(inside, 12, (-12, 12))[0])
    own = losses.bin_by_noise_level(jnp.ones(3), jnp.array([-60.0, 0.0, 60.0]), jnp.array([-1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(own.sum, [1, 2])


@in_float64
def test_uncertainty_weighted_is_minimal_at_the_log_of_the_expected_loss():
    loss = np.array([0.5, 1.5, 4.0])
    mean = jax.jit(jax.value_and_grad(lambda u: jnp.mean(losses.uncertainty_weighted(loss, u))))
    best = np.log(2.0)
    value, gradient = mean(best)
    assert gradient == pytest.approx(0.0, abs=1e-12)
    assert value == pytest.approx(1.0 + np.log(2.0))
    assert min(mean(best + 0.1)[0], mean(best - 0.1)[0]) > value


X0 = jnp.ones((2, 3))
test_invalid_arguments_raise = raising(
    {
        "times.t must": lambda: losses.denoising_loss_at(
            lambda x, t: x, Cosine(), X0, X0, times.Times(jnp.ones(3), jnp.ones(3))
        ),
        "target must be one of": lambda: losses.denoising_loss(KEY, lambda x, t: x, Cosine(), X0, target="noise"),
        "share a leading batch axis": lambda: losses.denoising_loss(KEY, lambda x, t: x, Cosine(), [X0, jnp.ones(3)]),
    }
)
