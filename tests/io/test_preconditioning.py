"""Preconditioning against the closed forms of the papers."""

import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.io import preconditioning
from scorekit.io.preconditioning import ddpm, edm, from_scheduler, ve, vp

T = np.array([0.0, 0.01, 0.3, 0.77, 1.0], np.float32)


def c_noise(found, t=T):
    return np.asarray(found.noise_input(found.schedule.log_snr(t)))


def alphas(betas):
    """Signal levels of a table, by the product of the definition."""
    return np.sqrt(np.cumprod(1.0 - np.asarray(betas, np.float64)))


cosine_bar = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2
TABLES = {
    "linear": [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)],
    "scaled_linear": [(1e-2 + (0.02**0.5 - 1e-2) * i / 999) ** 2 for i in range(1000)],
    "sigmoid": [1e-4 + (0.02 - 1e-4) / (1 + np.exp(6 - 12 * i / 999)) for i in range(1000)],
    "squaredcos_cap_v2": [min(1 - cosine_bar((i + 1) / 1000) / cosine_bar(i / 1000), 0.999) for i in range(1000)],
}


@pytest.mark.parametrize("name", TABLES)
def test_timesteps_are_those_of_the_table(name):
    """At the entries the network is called with the index, and the schedule has the level of the product of betas."""
    found, index = ddpm(name), np.array([0, 1, 250, 998, 999])
    np.testing.assert_allclose(preconditioning.beta_table(name), TABLES[name], rtol=1e-9)
    np.testing.assert_allclose(c_noise(found, index / 999), index, atol=2e-3)
    np.testing.assert_allclose(found.schedule.alpha(index / 999), alphas(TABLES[name])[index], rtol=1e-5)
    assert found.sigma_data == 1.0


def test_the_cosine_table_is_that_of_edm_for_iddpm():
    """Karras et al. 2022, table 1: ``u_{j-1}^2 = (u_j^2 + 1) / max(a_{j-1} / a_j, 1e-3) - 1``, and the index M-1-j."""
    count, level = 1000, np.zeros(1001)
    bar = lambda j: np.sin(np.pi / 2 * j / (count * 1.008)) ** 2
    for j in range(count, 0, -1):
        level[j - 1] = np.sqrt((level[j] ** 2 + 1) / max(bar(j - 1) / bar(j), 1e-3) - 1)
    j = np.array([0, 1, 400, 999])
    found = ddpm("squaredcos_cap_v2")
    log_snr = jnp.asarray(-2 * np.log(level[j]), jnp.float32)
    np.testing.assert_allclose(found.noise_input(log_snr), count - 1 - j, atol=2e-3)


def test_noise_inputs_are_those_of_the_table_of_edm():
    np.testing.assert_allclose(c_noise(vp()), 999 * T, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(c_noise(ve()), np.log(0.02 * 5000**T / 2), rtol=1e-5, atol=1e-6)
    sigma = (0.002 ** (1 / 7) + T * (80 ** (1 / 7) - 0.002 ** (1 / 7))) ** 7
    np.testing.assert_allclose(c_noise(edm()), np.log(sigma) / 4, rtol=1e-4)


def test_a_network_may_be_sampled_with_another_schedule():
    """The noise input belongs to the log-SNR, not to the time."""
    table, other = ddpm("linear"), edm().schedule
    t = other.time_at(table.schedule.log_snr(300 / 999))
    np.testing.assert_allclose(table.noise_input(other.log_snr(t)), 300, atol=0.01)


@pytest.mark.parametrize(("name", "of"), [("epsilon", "Eps"), ("v_prediction", "V"), ("sample", "X0")])
def test_scheduler_configs_are_read(name, of):
    found = from_scheduler(
        {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "prediction_type": name}
    )
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    assert type(found.target).__name__ == of
    np.testing.assert_allclose(found.schedule.alpha(1.0), alphas(betas)[-1], rtol=1e-5)


@pytest.mark.slow
def test_given_betas_and_zero_terminal_signal():
    betas = np.linspace(0.01, 0.2, 20)
    found = from_scheduler({"trained_betas": list(betas), "rescale_betas_zero_snr": True})
    expected = alphas(betas)
    expected = (expected - expected[-1]) * expected[0] / (expected[0] - expected[-1])
    np.testing.assert_allclose(found.schedule.alpha(np.arange(20) / 19), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(c_noise(found, np.arange(19) / 19), np.arange(19), atol=2e-3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_class_name": "KarrasVeScheduler"}, "of betas, of EDM or of flow matching, got that of KarrasVeScheduler"),
        (
            {"beta_schedule": "exp", "prediction_type": "flow", "snr_shift_scale": 3.0},
            "(?=.*beta_schedule must be 'linear' or .* or 'laplace', got 'exp')(?=.*prediction_type)(?=.*snr_shift)",
        ),
        (
            {"_class_name": "EDMEulerScheduler", "prediction_type": "v_prediction"},
            "prediction_type must be 'epsilon', got",
        ),
        ({"_class_name": "FlowMatchHeunDiscreteScheduler", "invert_sigmas": True}, "invert_sigmas must be False"),
        ({"beta_schedule": "linear", "prediction_type": "flow"}, "prediction_type must be 'epsilon' or 'v_pre"),
        (
            {"beta_schedule": "linear", "num_train_timesteps": 1},
            "num_train_timesteps must be an integer from 2 to 1048576, got 1",
        ),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 0}, "num_train_timesteps must be"),
        (
            {"_class_name": "UnheardScheduler", "beta_schedule": "linear"},
            "got that of UnheardScheduler",
        ),
        ({"trained_betas": [0.1, 0.2], "num_train_timesteps": 3}, "must have num_train_timesteps = 3 values, got 2"),
        ({"beta_schedule": "linear", "beta_start": 0.0}, r"beta_start must be in \(0, 1\), got 0.0"),
    ],
)
def test_other_schedulers_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        from_scheduler(config)


SCHEDULERS = {
    **{name: ("DDPMScheduler", {"beta_schedule": name}) for name in preconditioning.BETAS},
    "zero terminal SNR": ("DDIMScheduler", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}),
    "sample": ("DDPMScheduler", {"num_train_timesteps": 100, "prediction_type": "sample"}),
    "Stable Diffusion": ("DDIMScheduler", {"beta_schedule": "scaled_linear", "beta_start": 8.5e-4, "beta_end": 0.012}),
}


@pytest.mark.external
@pytest.mark.parametrize("case", SCHEDULERS)
def test_signal_levels_and_clean_data_are_those_of_diffusers(case):
    """Of every entry of the table, and x0 of an output by the step of the scheduler."""
    name, options = SCHEDULERS[case]
    theirs = getattr(pytest.importorskip("diffusers"), name)(**options, clip_sample=False)
    found, torch = from_scheduler({"_class_name": name, **theirs.config}), pytest.importorskip("torch")
    last = theirs.config.num_train_timesteps - 1
    bar, t = theirs.alphas_cumprod.double().numpy(), np.arange(last + 1) / last
    np.testing.assert_allclose(found.schedule.alpha(t), np.sqrt(bar), rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(c_noise(found, t), np.arange(last + 1), atol=5e-3)
    theirs.set_timesteps(last + 1)
    x, output = np.random.default_rng(0).normal(size=(2, 1, 4)).astype(np.float32)
    expected = theirs.step(torch.tensor(output), last // 2, torch.tensor(x)).pred_original_sample
    x0 = found.target.to_prediction(output, x, (last // 2) / last, found.schedule).x0
    np.testing.assert_allclose(x0, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.external
def test_preconditioning_of_edm_is_that_of_diffusers():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("diffusers").EDMEulerScheduler(sigma_data=0.3)
    found = from_scheduler({"_class_name": "EDMEulerScheduler", **theirs.config})
    assert found.sigma_data == 0.3
    sigma, x, output = found.schedule.sigma(0.4), *np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32)
    np.testing.assert_allclose(c_noise(found, 0.4), theirs.precondition_noise(float(sigma))[0], rtol=1e-5)
    expected = theirs.precondition_outputs(torch.tensor(x), torch.tensor(output), float(sigma))
    np.testing.assert_allclose(found.target.to_prediction(output, x, 0.4, found.schedule).x0, expected, rtol=1e-4)


@pytest.mark.external
def test_flow_matching_is_that_of_diffusers():
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("diffusers").FlowMatchEulerDiscreteScheduler(shift=3.0)
    found = from_scheduler({"_class_name": "FlowMatchEulerDiscreteScheduler", **theirs.config})
    x, output = np.random.default_rng(0).normal(size=(2, 1, 5)).astype(np.float32)
    theirs.set_timesteps(4)
    timestep, sigma = theirs.timesteps[1], theirs.sigmas[1:3].numpy()
    np.testing.assert_allclose(c_noise(found, sigma[0]), timestep, rtol=1e-5)
    ours = found.target.to_prediction(output, x, sigma[0], found.schedule)
    expected = theirs.step(torch.tensor(output), timestep, torch.tensor(x)).prev_sample
    np.testing.assert_allclose((1 - sigma[1]) * ours.x0 + sigma[1] * ours.eps, expected, rtol=1e-4, atol=1e-5)
