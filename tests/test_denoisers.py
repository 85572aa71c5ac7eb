"""Adapters against the exact denoiser of a mixture, and as values that cross ``jit``."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from tables import in_float64, quick_jit

from scorekit import process
from scorekit.denoisers import (
    condition_on_log_snr,
    denoiser_from_log_density,
    denoiser_from_network,
    denoiser_from_score,
    exact_denoiser,
    scale_input,
)
from scorekit.densities import gaussian, mixture
from scorekit.predictions import TARGETS, edm_target
from scorekit.schedules import cosine, edm, geometric_ve, linear_vp, rectified_flow, sub_vp
from scorekit.trees import combine

RNG = np.random.default_rng(0)
MEANS, X = RNG.normal(size=(3, 2)), RNG.normal(size=(6, 2))
T = np.linspace(0.05, 0.95, 6)
SCHEDULES = {"linear_vp": linear_vp, "sub_vp": sub_vp, "ve": geometric_ve, "flow": rectified_flow}


def density():
    return mixture([1, 2, 3], [gaussian(jnp.asarray(m, float), std=0.4) for m in MEANS])


def energy(scale, density, schedule, x_t, t):
    """A log-density with a constant that depends on t, per example or at one time."""
    marginal = lambda x, t: density.marginal(schedule.alpha(t), schedule.sigma(t)).log_density(x)
    return (jax.vmap(marginal) if jnp.ndim(t) else marginal)(x_t, t) + scale * t


@quick_jit
def adapted(density, schedule, x_t, t):
    """The exact denoiser, and the same through every adapter."""
    exact = exact_denoiser(density, schedule)
    outputs = {"exact": exact(x_t, t)}
    for name, form in {**TARGETS, "edm": edm_target(0.7)}.items():
        network = lambda x, t, form=form: form.from_prediction(exact(x, t), t, schedule)
        outputs[f"network {name}"] = denoiser_from_network(network, schedule, form)(x_t, t)
    score = lambda x, t: process.score(exact(x, t), t, schedule)
    outputs["score"] = denoiser_from_score(score, schedule)(x_t, t)
    outputs["log_density"] = denoiser_from_log_density(Partial(energy, 5.0, density, schedule), schedule)(x_t, t)
    summed = lambda x, t: jnp.sum(energy(0.0, density, schedule, x, t))
    outputs["one log_density"] = denoiser_from_log_density(summed, schedule)(x_t, t)
    return outputs


@pytest.mark.parametrize("name", SCHEDULES)
@in_float64
def test_every_adapter_is_the_exact_denoiser(name):
    schedule, data = SCHEDULES[name](), density()
    per_example = adapted(data, schedule, X, T)
    for row, t in enumerate(T):  # a batch of times is each time on its own
        alone = data.predict(X[row], schedule.alpha(t), schedule.sigma(t))
        for adapter, (x0, eps) in per_example.items():
            np.testing.assert_allclose(x0[row], alone.x0, rtol=1e-8, atol=1e-8, err_msg=adapter)
            np.testing.assert_allclose(eps[row], alone.eps, rtol=1e-8, atol=1e-8, err_msg=adapter)


@in_float64
def test_one_time_for_any_leading_axes():
    for adapter, (x0, eps) in adapted(density(), cosine(), X.reshape(3, 2, 2), 0.4).items():
        truth = density().predict(X, cosine().alpha(0.4), cosine().sigma(0.4))
        np.testing.assert_allclose(x0.reshape(6, 2), truth.x0, rtol=1e-9, err_msg=adapter)
        np.testing.assert_allclose(eps.reshape(6, 2), truth.eps, rtol=1e-9, atol=1e-12, err_msg=adapter)


@pytest.mark.parametrize("target", ["v", "velocity", edm_target(0.5)], ids=["v", "velocity", "edm"])
def test_a_network_serves_at_both_ends(target):
    network, x, t = lambda x, t: jnp.full_like(x, 0.3), jnp.float32(X[:2]), jnp.array([0.0, 1.0])
    prediction = denoiser_from_network(network, cosine(), target)(x, t)
    np.testing.assert_allclose(prediction.x0[0], x[0], rtol=1e-6)
    np.testing.assert_allclose(prediction.eps[1], x[1], rtol=1e-6)
    assert np.all(np.isfinite(prediction))


def linear(params, x, t):
    return params["w"] * x + params["b"] * jnp.cos(jnp.asarray(t))


def test_denoisers_cross_jit_without_retracing_on_new_numbers():
    traces = []

    @jax.jit
    def run(denoiser, x):
        traces.append(1)
        return denoiser(x, 0.3)

    x = jnp.float32(X)

    def network(w, beta):
        return denoiser_from_network(Partial(linear, {"w": w, "b": 0.1}), linear_vp(beta_max=beta), "eps")

    def full(w, beta):
        inner = scale_input(condition_on_log_snr(Partial(linear, {"w": w, "b": 0.1}), linear_vp(), w), linear_vp(), w)
        return denoiser_from_network(inner, linear_vp(beta_max=beta), edm_target(w))

    def exact(w, beta):
        return exact_denoiser(gaussian(jnp.zeros(2), std=w), linear_vp(beta_max=beta))

    def score(w, beta):
        return denoiser_from_score(Partial(linear, {"w": w, "b": 0.1}), linear_vp(beta_max=beta))

    def log_density(w, beta):
        return denoiser_from_log_density(Partial(square, w), linear_vp(beta_max=beta))

    for made, build in enumerate((network, full, exact, score, log_density), start=1):
        first, second, third = (run(build(w, beta), x) for w, beta in ((0.5, 20.0), (0.7, 20.0), (0.7, 10.0)))
        assert len(traces) == made, build.__name__
        assert not np.allclose(first.eps, second.eps)
        assert not np.allclose(second.x0, third.x0)
        np.testing.assert_allclose(first.x0, build(0.5, 20.0)(x, 0.3).x0, rtol=1e-5, atol=1e-6)


def square(scale, x, t):
    return -scale * jnp.sum(x**2, axis=-1)


def test_plain_functions_and_objects_are_accepted():
    class Network:
        def __call__(self, x, t):
            return 2 * x

    for network in (lambda x, t: 2 * x, Network(), Partial(lambda w, x, t: w * x, 2.0)):
        denoiser = denoiser_from_network(network, cosine(), "eps")
        np.testing.assert_allclose(jax.jit(denoiser)(jnp.ones(2), 0.3).eps, 2.0)
        assert jax.jit(lambda d: d(jnp.ones(2), 0.3).eps)(denoiser)[0] == 2.0


def test_states_keep_their_tree_and_precision():
    state = {"a": jnp.ones((2, 3)), "b": jnp.ones(2, jnp.bfloat16)}
    coarse = lambda x, t: jax.tree.map(lambda leaf: (0.5 * leaf).astype(jnp.bfloat16), x)
    fine = lambda x, t: jax.tree.map(lambda leaf: 0.5 * leaf.astype(jnp.float32), x)
    t = jnp.array([0.3, 0.6])
    for adapt in (lambda n: denoiser_from_network(n, cosine(), "v"), lambda n: denoiser_from_score(n, cosine())):
        for network in (coarse, fine):
            for leaf in adapt(network)(state, t):
                assert jax.tree.map(lambda x: (x.shape, x.dtype), leaf) == jax.tree.map(
                    lambda x: (x.shape, x.dtype), state
                )
    low = exact_denoiser(gaussian(jnp.zeros(2), std=1.0), cosine())(jnp.ones((2, 2), jnp.bfloat16), t)
    assert low.x0.dtype == low.eps.dtype == jnp.bfloat16


def test_log_density_of_a_tree():
    log_density = lambda x, t: -0.5 * (jnp.sum(x["a"] ** 2, axis=1) + x["b"] ** 2)
    x, t = {"a": jnp.ones((2, 3)), "b": jnp.full(2, 3.0)}, jnp.array([0.3, 0.6])
    eps = denoiser_from_log_density(log_density, cosine())(x, t).eps
    np.testing.assert_allclose(eps["a"], np.broadcast_to(cosine().sigma(t)[:, None], (2, 3)), rtol=1e-6)
    np.testing.assert_allclose(eps["b"], 3 * cosine().sigma(t), rtol=1e-6)


def test_condition_on_log_snr_is_bounded_and_scaled():
    level = lambda x, level: level
    t = jnp.array([0.0, 0.25, 1.0])
    seen = condition_on_log_snr(level, rectified_flow(), 0.5)(jnp.zeros(3), t)
    np.testing.assert_allclose(seen, [30.0, np.log(3), -30.0], rtol=1e-6)
    np.testing.assert_allclose(condition_on_log_snr(level, rectified_flow())(jnp.zeros(3), t), seen / 2, rtol=1e-6)


def test_a_network_of_the_noise_level_does_not_see_the_schedule():
    """Trained under one variance-preserving schedule, it serves under another at equal log-SNR."""
    network = lambda x, level: jnp.tanh(x + level[:, None])
    levels, x = jnp.linspace(-4.0, 4.0, 6), jnp.float32(X)
    serve = lambda s: denoiser_from_network(condition_on_log_snr(network, s), s, "v")(x, s.time_at(levels))
    np.testing.assert_allclose(serve(cosine()), serve(linear_vp()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SCHEDULES)
def test_scaled_input_has_unit_variance(name):
    schedule, rng = SCHEDULES[name](), np.random.default_rng(1)
    n, t = 20_000, jnp.array([0.0, 0.2, 0.5, 0.8, 1.0])
    x0, eps = np.float32(0.7 * rng.normal(size=(5, n))), np.float32(rng.normal(size=(5, n)))
    seen = scale_input(lambda x, t: x, schedule, 0.7)(process.perturb(x0, eps, t, schedule), t)
    np.testing.assert_allclose(np.std(seen, axis=1), 1.0, atol=0.02)


@pytest.mark.parametrize(
    "schedule", [edm(), geometric_ve(), cosine(), rectified_flow()], ids=["edm", "ve", "vp", "flow"]
)
@in_float64
def test_edm_preconditioning_end_to_end(schedule):
    """``D(x; w) = c_skip x + c_out F(c_in x, c_noise)``, Karras et al. 2022, table 1, with x = x_t / alpha."""
    s, x_t, t = 0.6, X, T
    raw = lambda x, level: np.tanh(x) * level[:, None]
    traced = lambda x, level: jnp.tanh(x) * level[:, None]
    network = scale_input(condition_on_log_snr(traced, schedule, -1 / 8), schedule, s)
    prediction = denoiser_from_network(network, schedule, edm_target(s))(x_t, t)

    alpha, w = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t) / schedule.alpha(t))
    column = lambda a: a[:, None]
    c_skip, c_out = s**2 / (w**2 + s**2), w * s / np.sqrt(w**2 + s**2)
    c_in, c_noise = 1 / np.sqrt(w**2 + s**2), np.log(w) / 4
    x = x_t / column(alpha)
    denoised = column(c_skip) * x + column(c_out) * raw(column(c_in) * x, c_noise)
    np.testing.assert_allclose(prediction.x0, denoised, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(prediction.eps, (x - denoised) / column(w), rtol=1e-6, atol=1e-8)
    recomposed = combine((schedule.alpha(t), prediction.x0), (schedule.sigma(t), prediction.eps))
    np.testing.assert_allclose(recomposed, x_t, rtol=1e-9, atol=1e-10)


def test_refusals():
    with pytest.raises(ValueError, match="target must be one of .* got 'noise'"):
        denoiser_from_network(lambda x, t: x, cosine(), "noise")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sigma_data must be finite and > 0, got -1"):
        scale_input(lambda x, t: x, cosine(), -1.0)
