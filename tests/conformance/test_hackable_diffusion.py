"""hackable_diffusion: step samplers of a rectified flow, ``t = sigma / (1 + sigma)``, its schedules and a loss."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

from scorekit.conformance import Loss, Sampler, Schedule, check

DEFECTS = {
    ("SDE", "last step"),  # a step of Euler-Maruyama leaves noise
    *(("AdjustedDDIM", name) for name in ("last step", "order", "mean", "spread", "density")),  # alpha of another time
}


def module(name):
    """A module of the package."""
    return importlib.import_module(f"hackable_diffusion.lib.{name}")


def stepper(name, order, stochastic=False, **options):
    """The sampler of a kind of step."""
    steps, sampling, base = (module(f"sampling.{each}") for each in ("gaussian_step_sampler", "sampling", "base"))
    process = module("corruption.gaussian").GaussianProcess(schedule=module("corruption.schedules").RFSchedule())

    def run(denoiser, x, sigmas, rng):
        times = jnp.tile((sigmas / (1 + sigmas))[:, None, None], (1, len(x), 1))
        keys = jax.random.split(jax.random.key(0), len(sigmas))
        infos = base.StepInfo(step=jnp.arange(len(sigmas)), time=times, rng=keys)
        grid = type("Grid", (), {"all_step_infos": lambda *_: infos})()

        def inference(xt, conditioning, time):
            sigma = time / (1 - time)
            return {"x0": jax.pure_callback(denoiser, like, xt * (1 + sigma), sigma)}

        draw, kind = jax.random.normal, getattr(steps, name)(corruption_process=process, **options)
        normal, like = lambda: rng.standard_normal(x.shape), jax.ShapeDtypeStruct(x.shape, float)
        try:  # all noise of a step, of which there is one array
            jax.random.normal = lambda key, shape: io_callback(normal, like, ordered=True)
            sampler = sampling.DiffusionSampler(
                time_schedule=grid, stepper=kind, num_steps=len(sigmas), store_trajectory=False
            )
            found = sampler(inference, jax.random.key(0), jnp.asarray(x / (1 + sigmas[0])))[0].xt
        finally:
            jax.random.normal = draw
        return np.asarray(found) * (1 + sigmas[-1])

    return Sampler(run=run, order=order, stochastic=stochastic)


def schedule(name, kind, **ends):
    """One of its schedules, away from the ends that it leaves out."""
    made = getattr(module("corruption.schedules"), name)(**ends)

    def value(method):
        return lambda t: np.asarray(getattr(made, method)(jnp.asarray(t)))

    square = lambda t: value("g")(t) ** 2
    functions = {"log_snr": value("logsnr"), "drift": value("f"), "diffusion_squared": square}
    times = np.linspace(1e-6, 1 - 1e-6, 101)
    return Schedule(alpha=value("alpha"), sigma=value("sigma"), times=times, kind=kind, **functions)


def loss(denoiser, x0, seed):
    """The loss of v, on a rectified flow."""
    process = module("corruption.gaussian").GaussianProcess(schedule=module("corruption.schedules").RFSchedule())
    draws = np.random.default_rng(seed)
    time = jnp.asarray(draws.uniform(0.02, 0.98, (len(x0), 1)))
    xt, targets = process.corrupt(jax.random.key(seed), jnp.asarray(x0), time)
    sigma = np.asarray(time / (1 - time))
    x0 = jnp.asarray(denoiser(np.asarray(xt) * (1 + sigma), sigma[:, 0]))
    found = process.convert_predictions({"x0": x0}, xt, time)
    objective = module("training.gaussian_loss").NoWeightGaussianLoss(prediction_type="velocity")
    return np.asarray(objective({"velocity": found["velocity"]}, targets, time))


@pytest.mark.external
def test_hackable_diffusion(float64):
    pytest.importorskip("hackable_diffusion")
    subjects = {
        "LinearDiffusionSchedule": schedule("LinearDiffusionSchedule", "vp"),
        "CosineSchedule": schedule("CosineSchedule", "vp"),
        "RFSchedule": schedule("RFSchedule", "flow"),
        "GeometricSchedule": schedule("GeometricSchedule", "ve", sigma_min=0.01, sigma_max=50.0),
        "DDIM": stepper("DDIMStep", 1, stoch_coeff=0.0),
        "DDPM": stepper("DDIMStep", 1, stochastic=True, stoch_coeff=1.0),
        "VelocityStep": stepper("VelocityStep", 1, stoch_coeff=0.0),
        "SDE": stepper("SdeStep", 1, stochastic=True, churn=1.0),
        "AdjustedDDIM": stepper("AdjustedDDIMStep", 1),
        "velocity loss": Loss(value=loss, weight=lambda sigma: (1 + 1 / sigma) ** 2),
    }
    report = check("hackable-diffusion", subjects)
    assert {(each.subject, each.name) for each in report.failed} == DEFECTS, str(report)
