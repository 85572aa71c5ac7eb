"""hackable_diffusion: step samplers of a rectified flow, ``t = sigma / (1 + sigma)``, its schedules and a loss."""

import importlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scorekit.conformance import Loss, Sampler, Schedule

NAME, PACKAGE = "hackable-diffusion", "hackable_diffusion"


def module(name: str) -> Any:
    """A module of the package."""
    return importlib.import_module(f"{PACKAGE}.lib.{name}")


def stepper(name: str, order: float | None, stochastic: bool = False, **options: Any) -> Sampler:
    """The sampler of a kind of step."""
    steps, sampling, base = (module(f"sampling.{each}") for each in ("gaussian_step_sampler", "sampling", "base"))
    process = module("corruption.gaussian").GaussianProcess(schedule=module("corruption.schedules").RFSchedule())

    def run(denoiser, x, sigmas, rng):
        shape, times, keys = (
            (-1, *[1] * x.ndim),
            sigmas / (1 + sigmas),
            jax.random.split(jax.random.key(0), len(sigmas)),
        )
        times = jnp.broadcast_to(times.reshape(shape), (len(sigmas), len(x), *[1] * (x.ndim - 1)))
        infos = base.StepInfo(step=jnp.arange(len(sigmas)), time=times, rng=keys)
        grid = type("Grid", (), {"all_step_infos": lambda *_: infos})()

        def inference(xt, conditioning, time):
            sigma = time / (1 - time)
            x0 = lambda x, sigma: denoiser(x, sigma)
            return {"x0": jax.pure_callback(x0, jax.ShapeDtypeStruct(xt.shape, float), xt * (1 + sigma), sigma)}

        heun = {"time_schedule": grid, "num_steps": len(sigmas)} if name == "HeunStep" else {}
        draw, kind = jax.random.normal, getattr(steps, name)(corruption_process=process, **heun, **options)
        normal = lambda like: rng.standard_normal(like.shape)
        like = jax.ShapeDtypeStruct(x.shape, float)
        try:  # all noise of a step, of which there is one array
            jax.random.normal = lambda key, shape: jax.experimental.io_callback(
                lambda: normal(like), like, ordered=True
            )
            sampler = sampling.DiffusionSampler(
                time_schedule=grid, stepper=kind, num_steps=len(sigmas), store_trajectory=False
            )
            found = sampler(inference, jax.random.key(0), jnp.asarray(x / (1 + sigmas[0])))[0].xt
        finally:
            jax.random.normal = draw
        return np.asarray(found) * (1 + sigmas[-1])

    return Sampler(run=run, order=order, stochastic=stochastic)


def schedule(name: str, kind: Any, **ends: float) -> Schedule:
    """One of its schedules, away from the ends that it leaves out."""
    made = getattr(module("corruption.schedules"), name)(**ends)

    def value(method):
        def values(t):
            return np.asarray(getattr(made, method)(jnp.asarray(t)))

        return values

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


def subjects() -> dict[str, Any]:
    """Schedules, step samplers with the orders that they claim, and a loss."""
    jax.config.update("jax_enable_x64", True)  # also in the threads of callbacks
    return {
        "LinearDiffusionSchedule": schedule("LinearDiffusionSchedule", "vp"),
        "CosineSchedule": schedule("CosineSchedule", "vp"),
        "RFSchedule": schedule("RFSchedule", "flow"),
        "GeometricSchedule": schedule("GeometricSchedule", "ve", sigma_min=0.01, sigma_max=50.0),
        "InverseCosineSchedule": schedule("InverseCosineSchedule", None),
        "DDIM": stepper("DDIMStep", 1, stoch_coeff=0.0),
        "DDPM": stepper("DDIMStep", 1, stochastic=True, stoch_coeff=1.0),
        "Heun": stepper("HeunStep", 2),
        "VelocityStep": stepper("VelocityStep", 1, stoch_coeff=0.0),
        "SDE": stepper("SdeStep", 1, stochastic=True, churn=1.0),
        "AdjustedDDIM": stepper("AdjustedDDIMStep", 1),
        "velocity loss": Loss(value=loss, weight=lambda sigma: (1 + 1 / sigma) ** 2),
    }
