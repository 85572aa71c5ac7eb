"""Adapters agree with the exact denoiser, cross ``jit`` without retracing, and EDM's preconditioning is Karras's."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from tables import B, in_float64

from scorekit import denoisers, densities, flow_maps, samplers, schedules, solvers
from scorekit.denoisers import (
    as_pytree,
    condition_on_log_snr,
    denoiser_from_log_density,
    denoiser_from_network,
    denoiser_from_score,
    exact_denoiser,
    scale_input,
)
from scorekit.predictions import TARGETS, EDMTarget
from scorekit.schedules import EDM, Cosine, GeometricVE, RectifiedFlow, SubVP
from scorekit.trees import pytree_dataclass

X = np.random.default_rng(0).normal(size=(B, 2))
FORMS = {**TARGETS, "edm": EDMTarget(sigma_data=0.7)}


def close(prediction, exact, rtol=1e-8):
    chex.assert_trees_all_close(tuple(prediction), tuple(exact), rtol=rtol, atol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("factory", [Cosine, SubVP, GeometricVE, RectifiedFlow])
@in_float64
def test_every_adapter_agrees_with_the_exact_denoiser(factory):
    schedule, mixture, t = factory(), densities.ring(3), np.linspace(0.1, 0.9, B)
    exact = exact_denoiser(mixture, schedule)

    def log_density(x_t, t):
        one = lambda x, t: mixture.marginal(schedule.alpha(t), schedule.sigma(t)).log_density(x)
        return jax.vmap(one)(x_t, jnp.broadcast_to(t, x_t.shape[:1]))

    score = lambda x, t: jax.grad(lambda x: jnp.sum(log_density(x, t)))(x)
    from_log_density = denoiser_from_log_density(log_density, schedule)

    @jax.jit
    def predictions(x, t, one_time):
        exactly = exact(x, t)
        adapted = [from_log_density(x, t), denoiser_from_score(score, schedule)(x, t)]
        for form in FORMS.values():
            network = lambda x, t, form=form: form.from_prediction(exact(x, t), t, schedule)
            adapted.append(denoiser_from_network(network, schedule, form)(x, t))
        return exactly, adapted, [d(x, one_time) for d in (exact, from_log_density)]

    truth, adapted, at_one_time = predictions(X, t, 0.3)
    for prediction in adapted:
        close(prediction, truth)
    # A scalar time is every example's time.
    for prediction in at_one_time:
        close(prediction, predictions(X, np.full(B, 0.3), 0.3)[0])


@pytree_dataclass
class Network:
    """A network library's callable: one array inside."""

    scale: jax.Array

    def __call__(self, x, t):
        return self.scale * x


def linear(params, x, t):
    return params["w"] * x


def builders():
    schedule = lambda c: Cosine(s=c)
    return {
        "network": lambda c: denoiser_from_network(Partial(linear, {"w": jnp.full((), c)}), schedule(c), "v"),
        "callable_tree": lambda c: denoiser_from_network(Network(scale=jnp.full((2,), c)), schedule(c), "v"),
        "edm": lambda c: denoiser_from_network(
            Partial(linear, {"w": jnp.full((), c)}), schedule(c), EDMTarget(sigma_data=c)
        ),
        "score": lambda c: denoiser_from_score(Partial(linear, {"w": jnp.full((), c)}), schedule(c)),
        "log_density": lambda c: denoiser_from_log_density(Partial(quadratic, jnp.full((), c)), schedule(c)),
        "exact": lambda c: exact_denoiser(densities.gaussian(jnp.full(2, c), std=c), schedule(c)),
        "conditioned": lambda c: denoiser_from_network(
            scale_input(condition_on_log_snr(Partial(linear, {"w": jnp.full((), c)}), schedule(c), c), schedule(c), c),
            schedule(c),
        ),
    }


def quadratic(c, x, t):
    return -c * jnp.sum(jnp.square(x), -1)


@pytest.mark.parametrize("name", builders())
def test_denoisers_are_jit_arguments_and_new_values_do_not_retrace(name):
    make = builders()[name]
    chex.clear_trace_counter()  # of the other cases

    @jax.jit
    @chex.assert_max_traces(n=1)
    def run(denoiser, x, t):
        return denoiser(x, t)

    x, t = jnp.ones((3, 2)), jnp.array([0.2, 0.5, 0.8])
    one, two = run(make(0.5), x, t), run(make(0.25), x, t)
    assert not np.allclose(one.x0, two.x0)
    close(one, make(0.5)(x, t), 1e-5)


def test_as_pytree_accepts_any_callable():
    class Bound:
        def network(self, x, t):
            return x

    for function in (lambda x, t: x, functools.partial(linear, {"w": 1.0}), Bound().network, jnp.add):
        denoiser = denoiser_from_network(function, Cosine())
        assert np.all(np.isfinite(jax.jit(lambda d: d(jnp.ones((1, 2)), 0.5))(denoiser).x0))
    array_inside = Network(scale=np.ones(2))  # type: ignore[arg-type]
    assert as_pytree(array_inside) is array_inside


def test_networks_may_be_conditioned_on_the_noise_level():
    seen = []
    network = lambda x, level: (seen.append(level), x)[1]
    schedule = RectifiedFlow()
    condition_on_log_snr(network, schedule)(jnp.ones((3, 2)), jnp.array([0.0, 0.25, 1.0]))
    np.testing.assert_allclose(seen[0], [5.0, 0.25 * 2 * np.log(3), -5.0], rtol=1e-6)  # at most 20 nats
    # Trained with one schedule, sampled with another: the same denoiser at the same level.
    level_net = lambda x, level: jnp.tanh(x) * level[:, None]
    on = lambda schedule: condition_on_log_snr(level_net, schedule)(
        jnp.ones((2, 2)), schedule.time_at(jnp.array([1.0, -2.0]))
    )
    np.testing.assert_allclose(on(Cosine()), on(RectifiedFlow()), rtol=1e-5)


@pytest.mark.parametrize("schedule", [Cosine(), GeometricVE(), SubVP()], ids=["cosine", "ve", "sub_vp"])
def test_scaled_inputs_have_unit_variance(schedule):
    t = np.linspace(0.0, 1.0, B, dtype=np.float32)
    x0, eps = np.random.default_rng(0).normal(size=(2, B, 5000))
    x_t = np.asarray(schedule.alpha(t))[:, None] * 0.7 * x0 + np.asarray(schedule.sigma(t))[:, None] * eps
    scaled = scale_input(lambda x, t: x, schedule, 0.7)(np.float32(x_t), t)
    np.testing.assert_allclose(np.asarray(scaled).std(axis=1), 1.0, atol=0.05)


@pytest.mark.parametrize("schedule", [EDM(), Cosine(), RectifiedFlow()], ids=["edm", "cosine", "flow"])
@in_float64
def test_edm_preconditioning_end_to_end_is_karras(schedule):
    """``D(x; w) = c_skip x + c_out F(c_in x, c_noise)`` with ``x = x_t / alpha`` and ``w = sigma / alpha``."""
    s = 0.5
    f = lambda x, c_noise: jnp.sin(3 * x) + c_noise[:, None] * x
    network = scale_input(condition_on_log_snr(f, schedule, scale=-0.125), schedule, s)
    t = jnp.linspace(0.02, 0.98, B)
    alpha = np.asarray(schedule.alpha(t))[:, None]
    sigma = np.asarray(schedule.sigma(t))[:, None] / alpha
    x = X * np.hypot(sigma, s)
    c_skip, c_out = s**2 / (sigma**2 + s**2), sigma * s / np.sqrt(sigma**2 + s**2)
    c_in, c_noise = 1 / np.sqrt(sigma**2 + s**2), np.log(sigma) / 4
    karras = c_skip * x + c_out * f(c_in * x, c_noise[:, 0])
    denoised = denoiser_from_network(network, schedule, EDMTarget(sigma_data=s))(alpha * x, t)
    np.testing.assert_allclose(denoised.x0, karras, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(denoised.eps, (x - karras) / sigma, rtol=1e-7, atol=1e-8)


def test_denoisers_preserve_dtype_and_tree_structure():
    network = lambda x, t: jax.tree.map(lambda leaf: 0.1 * leaf, x)
    x = {"a": np.ones((3, 2), jnp.bfloat16), "b": np.ones((3,), np.float32)}
    prediction = jax.jit(denoiser_from_network(network, Cosine()))(x, np.float32([0.1, 0.2, 0.3]))
    for half in prediction:
        assert (half["a"].dtype, half["b"].dtype) == (jnp.bfloat16, jnp.float32)
    exact = jax.jit(exact_denoiser(densities.ring(3), Cosine()))(np.ones((3, 2), jnp.bfloat16), 0.5)
    assert exact.x0.dtype == exact.eps.dtype == jnp.bfloat16


def test_log_density_of_a_tree():
    log_density = lambda x, t: -0.5 * (jnp.sum(x["a"] ** 2, axis=1) + x["b"] ** 2)
    x, t = {"a": np.ones((2, 3), np.float32), "b": np.full(2, 3.0, np.float32)}, np.float32([0.3, 0.6])
    eps = jax.jit(denoiser_from_log_density(log_density, Cosine()))(x, t).eps
    sigma = np.sin(np.pi / 2 * t)
    np.testing.assert_allclose(eps["a"], np.broadcast_to(sigma[:, None], (2, 3)), rtol=1e-6)
    np.testing.assert_allclose(eps["b"], 3 * sigma, rtol=1e-6)


def test_times_outside_the_interval_are_named():
    schedule, x = schedules.RectifiedFlow(), jnp.ones((2, 1))
    network = lambda x, t: x
    for denoiser in (
        denoisers.exact_denoiser(densities.gaussian(jnp.zeros(1), std=1.0), schedule),
        denoisers.denoiser_from_network(network, schedule),
        denoisers.denoiser_from_score(network, schedule),
        denoisers.scale_input(network, schedule),
    ):
        for t in (2.0, -0.5, np.nan, np.array([0.5, 1.5])):
            with pytest.raises(ValueError, match=r"t must be in .0, 1., got"):
                denoiser(x, t)


def _joined(x, t):  # as in many code bases: t is (B,)
    return jnp.concatenate([x, t[:, None]], axis=1)[:, :-1]


@pytest.mark.parametrize("draw", [samplers.sample, jax.jit(samplers.sample)], ids=["eager", "jit"])
def test_a_network_that_needs_a_batch_of_times_says_how(draw):
    schedule, x, ts = schedules.RectifiedFlow(), jnp.ones((4, 2)), jnp.array([1.0, 0.0])
    run = lambda network: draw(denoisers.denoiser_from_network(network, schedule), schedule, solvers.Euler(), x, ts)
    with pytest.raises(ValueError, match=r"^t is a scalar when sampling and \(B,\) in the loss") as found:
        run(_joined)
    assert isinstance(found.value.__cause__, IndexError)
    with pytest.raises(ZeroDivisionError):  # its own error, with any t
        run(lambda x, t: 1 / 0)
    matrix = np.ones((3, x.shape[1]), np.float32)
    with pytest.raises(ValueError, match=r"network takes one example: .* jax\.vmap\(network\)"):
        run(lambda x, t: matrix.T @ (matrix @ x))
    with pytest.raises(ValueError, match=r"output must hold real numbers, got dtype complex64"):
        run(lambda x, t: 1j * x)
    flow_map = flow_maps.flow_map_from_network(lambda x, t, s: _joined(x, t) + s[:, None], schedule)
    with pytest.raises(ValueError, match=r"jnp\.broadcast_to"):
        flow_map(x, 1.0, 0.0)
