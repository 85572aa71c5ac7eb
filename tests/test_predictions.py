"""The hub: round trips between all pairs of targets, definitions, and both ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tables import SCHEDULES, B, D, in_float64

from scorekit.predictions import TARGETS, EDMTarget, as_target, bounded_log_snr, convert, seen_log_snr, with_x0
from scorekit.process import perturb
from scorekit.schedules import Cosine, GeometricVE, RectifiedFlow, Sigmoid, SubVP
from scorekit.typing import Prediction

FORMS = {**TARGETS, "edm": EDMTarget(sigma_data=0.5)}
FREE = ("v", "velocity", "edm")
"""Targets of which neither signal nor noise is divided."""
ROUND_TRIPS = {
    "cosine": Cosine,
    "rectified_flow": RectifiedFlow,
    "sigmoid": Sigmoid,
    "geometric_ve": lambda: GeometricVE(sigma_min=1e-3, sigma_max=1e3),
}
RNG = np.random.default_rng(0)
X0, EPS = RNG.normal(size=(B, D)), RNG.normal(size=(B, D))


def all_pairs(schedule, levels, x0, eps):
    t = schedule.time_at(levels)
    x_t, truth = perturb(schedule, x0, eps, t), Prediction(x0, eps)
    outputs = {name: form.from_prediction(truth, t, schedule) for name, form in FORMS.items()}
    converted = {
        (a, b): convert(schedule, outputs[a], x_t, t, source=FORMS[a], target=FORMS[b]) for a in FORMS for b in FORMS
    }
    return outputs, converted


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_every_ordered_pair_round_trips(name):
    levels = np.linspace(-12, 12, B, dtype=np.float32)
    outputs, converted = all_pairs(ROUND_TRIPS[name](), levels, np.float32(X0), np.float32(EPS))
    # Going from the noise to the signal (or back) multiplies a rounding error by sigma / alpha (or its inverse).
    amplification = np.exp(np.abs(np.float64(levels)) / 2)[:, None]
    for (a, b), value in converted.items():
        size = np.abs(outputs[b]).max(axis=1, keepdims=True)
        error = np.abs(np.float64(value) - np.float64(outputs[b])) / size
        assert np.all(error < 100 * np.finfo(np.float32).eps * amplification), (a, b)


@pytest.mark.parametrize("schedule", [Cosine(s=0.008), SubVP(), GeometricVE()], ids=["cosine", "sub_vp", "ve"])
@in_float64
def test_targets_match_their_definitions(schedule):
    t, h = np.linspace(0.1, 0.9, B), 1e-6
    alpha, sigma = (np.asarray(f(t))[:, None] for f in (schedule.alpha, schedule.sigma))
    form = lambda name: FORMS[name].from_prediction(Prediction(X0, EPS), t, schedule)
    np.testing.assert_array_equal(form("x0"), X0)
    np.testing.assert_array_equal(form("eps"), EPS)
    np.testing.assert_allclose(form("score"), -EPS / sigma, rtol=1e-12)
    np.testing.assert_allclose(form("v"), alpha * EPS - sigma * X0, rtol=1e-12)
    path = lambda t: perturb(schedule, X0, EPS, t)
    np.testing.assert_allclose(form("velocity"), (path(t + h) - path(t - h)) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("schedule", [GeometricVE(), Cosine(), RectifiedFlow()], ids=["ve", "cosine", "flow"])
@pytest.mark.parametrize("s", [0.5, 1.7])
@in_float64
def test_edm_target_is_karras_preconditioning(schedule, s):
    t = np.linspace(0.1, 0.9, B)
    alpha, sigma = (np.asarray(f(t))[:, None] for f in (schedule.alpha, schedule.sigma))
    w = sigma / alpha  # EDM's sigma, for its x = x_t / alpha
    c_skip, c_out = s**2 / (w**2 + s**2), w * s / np.sqrt(s**2 + w**2)
    x_t, network = X0, EPS  # any values
    prediction = EDMTarget(sigma_data=s).to_prediction(network, x_t, t, schedule)
    np.testing.assert_allclose(prediction.x0, c_skip * x_t / alpha + c_out * network, rtol=1e-10)
    np.testing.assert_allclose(alpha * prediction.x0 + sigma * prediction.eps, x_t, rtol=1e-10, atol=1e-12)
    truth = EDMTarget(sigma_data=s).from_prediction(Prediction(X0, EPS), t, schedule)
    np.testing.assert_allclose(truth, (X0 - c_skip * (X0 + w * EPS)) / c_out, rtol=1e-9, atol=1e-10)


def measured_scales(schedule, t, x_t, output, change):
    pairs = {}
    for name, form in FORMS.items():
        before, after = (form.to_prediction(o, x_t, t, schedule).eps for o in (output, output + change))
        measured = jnp.linalg.norm(after - before, axis=1) / jnp.linalg.norm(change, axis=1)
        pairs[name] = measured, form.eps_scale(t, schedule)
    return pairs


@pytest.mark.parametrize("name", ["cosine", "linear_vp", "sub_vp", "edm", "rectified_flow", "laplace", "learned"])
@in_float64
def test_eps_scale_is_the_error_ratio(name):
    t = np.linspace(0.02, 0.98, B)
    pairs = measured_scales(SCHEDULES[name].make(), t, X0, EPS, np.cos(EPS))
    for form, (measured, stated) in pairs.items():
        np.testing.assert_allclose(stated, measured, rtol=1e-6, err_msg=form)


@pytest.mark.parametrize("schedule", [Cosine(), Cosine(s=0.008), RectifiedFlow()], ids=["cosine", "offset", "flow"])
@pytest.mark.parametrize("form", FREE)
def test_ratio_free_targets_are_exact_at_both_ends(schedule, form):
    t, x0, eps = jnp.linspace(0.0, 1.0, B), X0.astype(np.float32), EPS.astype(np.float32)
    x_t = perturb(schedule, x0, eps, t)
    output = FORMS[form].from_prediction(Prediction(x0, eps), t, schedule)
    back = FORMS[form].to_prediction(output, x_t, t, schedule)
    np.testing.assert_allclose(back.x0, x0, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(back.eps, eps, rtol=1e-4, atol=1e-5)
    assert np.all(np.isfinite(FORMS[form].eps_scale(t, schedule)))


ONE_OF_A_KIND = """
    linear_vp sub_vp cosine geometric_ve edm rectified_flow sigmoid laplace ddpm_table learned shifted_flow
    zero_terminal_table functions"""


@pytest.mark.parametrize("name", ONE_OF_A_KIND.split())
def test_ratio_free_targets_are_finite_at_both_ends_of_every_schedule(name):
    t, x, schedule = jnp.linspace(0.0, 1.0, B), jnp.ones((B, D)), SCHEDULES[name].make()

    @jax.jit
    def run(x):
        predictions = [FORMS[form].to_prediction(x, x, t, schedule) for form in FREE]
        again = [FORMS[form].from_prediction(p, t, schedule) for form, p in zip(FREE, predictions, strict=True)]
        return predictions, again, [perturb(schedule, *prediction, t) for prediction in predictions]

    predictions, again, kept = run(x)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((predictions, again)))
    np.testing.assert_allclose(kept, [x] * 3, rtol=1e-3)


def test_with_x0_preserves_x_t_and_does_not_change_eps_without_noise():
    schedule, t = RectifiedFlow(), jnp.linspace(0.0, 1.0, B)
    old, new = Prediction(jnp.float32(X0), jnp.float32(EPS)), jnp.float32(EPS + X0**2)
    out = with_x0(schedule, old, new, t)
    np.testing.assert_array_equal(out.x0, new)
    kept = perturb(schedule, out.x0, out.eps, t)
    np.testing.assert_allclose(kept[1:], perturb(schedule, old.x0, old.eps, t)[1:], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(out.eps[0], old.eps[0])


def test_networks_are_not_called_with_levels_that_training_hardly_draws():
    np.testing.assert_array_equal(seen_log_snr(jnp.array([-jnp.inf, -20.5, -3.0, 61.0])), [-20.0, -20.0, -3.0, 20.0])


def test_bounded_log_snr():
    np.testing.assert_array_equal(bounded_log_snr(RectifiedFlow(), jnp.array([0.0, 0.5, 1.0])), [60.0, 0.0, -60.0])


def test_targets_are_trees_by_name_or_object():
    assert as_target("v") is TARGETS["v"]
    assert as_target(EDMTarget(sigma_data=2.0)) == EDMTarget(sigma_data=2.0)
    assert jax.tree.leaves(EDMTarget(sigma_data=2.0)) == [2.0]
    x = {"a": jnp.ones((2, 3), jnp.bfloat16)}
    out = convert(Cosine(), x, x, jnp.array([0.2, 0.3]), source="v", target="velocity")
    assert out["a"].dtype == jnp.bfloat16


def test_invalid_arguments_raise():
    with pytest.raises(ValueError, match=r"target must be one of \['eps', 'score', 'v', 'velocity', 'x0'\].*'noise'"):
        as_target("noise")
