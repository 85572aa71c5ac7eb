"""One objective in every form, at every noise level and both ends."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from tables import B, D, in_float64

from scorekit import densities, losses, schedules, times, weightings
from scorekit.denoisers import exact_denoiser
from scorekit.predictions import TARGETS, edm_target
from scorekit.schedules import cosine, rectified_flow
from scorekit.typing import Prediction

FORMS = {**TARGETS, "edm": edm_target(0.5)}
PLAIN = ("cosine", "sub_vp", "geometric_ve", "rectified_flow")
SCHEDULES = {name: getattr(schedules, name) for name in PLAIN}
SCHEDULES["shifted"] = lambda: schedules.shifted(cosine(0.008), 2.0)
NAMES = ("eps", "x0", "v", "score", "truncated_snr", "min_snr", "p2", "edm", "flow", "logit_normal")
WEIGHTINGS = {name: getattr(weightings, name) for name in NAMES}
WEIGHTINGS["sigmoid"] = partial(weightings.sigmoid, bias=-1.0)
DATA = lambda: densities.gaussian(jnp.arange(D) - 1.0, covariance=jnp.eye(D) + 0.6)
UNIFORM, KEY = times.uniform(0.02, 0.98), jax.random.key(0)


def imperfect(form, schedule):
    """A network for this target whose noise estimate is the exact one plus an error."""
    exact = exact_denoiser(DATA(), schedule)

    def network(x_t, t):
        alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]
        eps = exact(x_t, t).eps + 0.1 * jnp.sin(3 * x_t + t[:, None])
        return form.from_prediction(Prediction((x_t - sigma * eps) / alpha, eps), t, schedule)

    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "bits"), [("sub_vp", 64), ("geometric_ve", 64), ("rectified_flow", 64), ("shifted", 64), ("cosine", 32)]
)
def test_denoising_loss_does_not_depend_on_the_target(name, bits):
    """The same key, network and weighting, spoken in six targets."""
    with jax.enable_x64(bits == 64):
        schedule, key = SCHEDULES[name](), jax.random.key(0)
        x0 = DATA().sample(jax.random.key(1), (B,)).astype(f"float{bits}")

        def loss(form):
            network = imperfect(form, schedule)
            return losses.denoising_loss(key, network, schedule, x0, target=form, weighting=weightings.v, times=UNIFORM)

        by_form = {form: loss(FORMS[form]) for form in FORMS}
        levels = by_form["eps"][1].log_snr
        weights = {**WEIGHTINGS, "likelihood": weightings.likelihood(schedule)}
        tolerance = 1e-9 if bits == 64 else 3e-3
        for form, (value, aux) in by_form.items():
            np.testing.assert_allclose(value, by_form["eps"][0], rtol=tolerance, err_msg=form)
            np.testing.assert_allclose(aux.eps_mse, by_form["eps"][1].eps_mse, rtol=tolerance, err_msg=form)
        # The weighting only multiplies: loss = lambda * eps_mse, for all of them.
        t, eps_mse = by_form["eps"][1].t, by_form["eps"][1].eps_mse
        drawn, eps = times.Times(t, jnp.ones_like(t)), jax.random.normal(jax.random.split(key)[1], x0.shape, x0.dtype)
        for weight in weights.values():
            out, aux = losses.denoising_loss_at(
                imperfect(FORMS["v"], schedule), schedule, x0, eps, drawn, weighting=weight
            )
            np.testing.assert_allclose(out, weight(levels) * eps_mse, rtol=tolerance)
            np.testing.assert_allclose(aux.weight, weight(levels), rtol=tolerance)


@pytest.mark.parametrize("target", ["x0", "v", "velocity", "edm"])
@pytest.mark.parametrize("factory", [cosine, rectified_flow])
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
    run = partial(losses.denoising_loss_at, lambda x, t: 0.5 * x, rectified_flow())
    kinds = {"velocity": weightings.flow, "x0": weightings.x0, "v": weightings.v}
    found = jax.jit(lambda *data: {k: run(*data, target=k, weighting=w)[0] for k, w in kinds.items()})(x0, eps, drawn)
    for target, truth in {"velocity": eps - x0, "x0": x0, "v": np.array([eps[0], -x0[1]])}.items():
        expected = np.mean((np.array([[0.5, -1.0], [-0.5, 1.0]]) - truth) ** 2, axis=1)
        np.testing.assert_allclose(found[target], expected, rtol=1e-5)


def test_importance_weights_multiply_and_times_reach_the_network():
    schedule, seen = cosine(), []
    drawn = times.Times(jnp.array([0.3, 0.6]), jnp.array([1.0, 3.0]))
    at = lambda drawn: losses.denoising_loss_at(
        lambda x, t: (seen.append(t), 0 * x)[1], schedule, jnp.ones((2, 3)), jnp.ones((2, 3)), drawn, target="eps"
    )
    one, three = at(drawn._replace(weight=jnp.ones(2)))[0], at(drawn)[0]
    np.testing.assert_allclose(three, one * np.array([1, 3]), rtol=1e-6)
    np.testing.assert_array_equal(seen[0], drawn.t)


def test_denoising_loss_is_independent_across_examples():
    schedule, rng = cosine(), np.random.default_rng(0)
    x0, eps = (np.float32(rng.normal(size=(B, D))) for _ in range(2))
    drawn = times.Times(np.linspace(0.1, 0.9, B, dtype=np.float32), np.ones(B, np.float32))
    at = jax.jit(lambda *data: losses.denoising_loss_at(lambda x, t: jnp.tanh(x), schedule, *data)[0])
    whole = np.asarray(at(x0, eps, drawn))
    part = at(x0[1:3], eps[1:3], jax.tree.map(lambda x: x[1:3], drawn))
    np.testing.assert_allclose(part, whole[1:3], rtol=1e-6)
    other = np.concatenate([np.full((1, D), 100.0, np.float32), x0[1:]])
    np.testing.assert_array_equal(at(other, eps, drawn)[1:], whole[1:])


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
            loss, aux = losses.denoising_loss(key, network, cosine(), x0, target=form, times=UNIFORM)
            drawn = times.Times(aux.t, jnp.ones(4))
            vectors = cosine(), flat(x0), flat(eps), drawn
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
    run = jax.jit(lambda key, x0: losses.denoising_loss(key, lambda x, t: x, cosine(), x0)[1])
    aux = run(jax.random.key(0), np.ones((128, 1), np.float32))
    np.testing.assert_array_equal(np.sort(np.floor((np.asarray(aux.t) - 1e-4) / (1 - 1e-4) * 128)), np.arange(128))


@in_float64
def test_the_exact_denoiser_minimises_the_loss():
    """A finite-difference gradient of the expected loss at the exact answer is zero: x0 is one of two points."""
    schedule, t = cosine(), 0.4
    x0 = np.repeat([[1.0], [-1.0]], 4001, axis=0)
    eps = np.tile(np.linspace(-7, 7, 4001), 2)[:, None]
    density = np.exp(-0.5 * eps[:, 0] ** 2)
    drawn = times.Times(np.full(len(eps), t), np.ones(len(eps)))
    exact = lambda x: jnp.tanh(schedule.alpha(t) * x / schedule.sigma(t) ** 2)

    def expected_loss(c):
        network = lambda x, t: exact(x) + c * jnp.cos(x)
        loss = losses.denoising_loss_at(network, schedule, x0, eps, drawn, target="x0", weighting=weightings.x0)[0]
        return jnp.sum(loss * density) / jnp.sum(density)

    gradient = jax.jit(jax.grad(expected_loss))
    assert gradient(0.0) == pytest.approx(0.0, abs=1e-10)
    assert gradient(0.1) > 0.01


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
        r"times.t must have shape \(2,\), one per example, got \(3,\)": lambda: losses.denoising_loss_at(
            lambda x, t: x, cosine(), X0, X0, times.Times(jnp.ones(3), jnp.ones(3))
        ),
        "target must be one of": lambda: losses.denoising_loss(KEY, lambda x, t: x, cosine(), X0, target="noise"),
        "share a leading batch axis": lambda: losses.denoising_loss(KEY, lambda x, t: x, cosine(), [X0, jnp.ones(3)]),
    }
)
