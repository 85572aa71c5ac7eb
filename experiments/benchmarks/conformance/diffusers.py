"""diffusers: its schedulers, driven one step at a time at noise levels that we choose."""

import importlib
import inspect
from typing import Any

import numpy as np

from scorekit.conformance import Sampler, Schedule

NAME = "diffusers"


def of_sigmas(name: str, repeats: int = 1, scaled: bool = False, **options: Any):
    """A run of a scheduler whose table of sigmas is replaced by ours."""
    torch: Any = importlib.import_module("torch")
    scheduler_of = getattr(importlib.import_module("diffusers"), name)

    def run(denoiser, x, sigmas, rng):
        to_zero = sigmas[-1] == 0
        ends = {"final_sigmas_type": "zero" if to_zero else "sigma_min", "lower_order_final": to_zero}
        known = inspect.signature(scheduler_of).parameters
        scheduler = scheduler_of(**options, **{key: value for key, value in ends.items() if key in known})
        scheduler.set_timesteps(len(sigmas) - 1)
        table = np.concatenate([sigmas[:1], np.repeat(sigmas[1:-1], repeats), sigmas[-1:]])
        scheduler.sigmas, scheduler.timesteps = torch.tensor(table), torch.arange(len(table) - 1.0)
        scale = np.hypot(1.0, table) if scaled else np.ones_like(table)  # the state is x / scale
        x = torch.tensor(x / scale[0])
        for k, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(x, t)
            x0 = torch.tensor(denoiser(x.numpy() * scale[k], table[k]))
            noise = {"variance_noise": torch.tensor(rng.standard_normal(x.shape))} if "sde" in str(options) else {}
            x = scheduler.step(x0, t, x, **noise).prev_sample
        return x.numpy() * scale[-1]

    return run


def of_betas(name: str, **options: Any):
    """A run of a scheduler whose table of betas has our noise levels as its entries."""
    torch: Any = importlib.import_module("torch")
    module: Any = importlib.import_module(f"diffusers.schedulers.scheduling_{name[:4].lower()}")

    def run(denoiser, x, sigmas, rng):
        module.randn_tensor = lambda shape, **_: torch.tensor(rng.standard_normal(shape))
        kept = 1 / (1 + sigmas[::-1] ** 2)
        betas = 1 - kept / np.append(1.0, kept[:-1])
        scheduler = getattr(module, name)(len(sigmas), trained_betas=betas, prediction_type="sample", clip_sample=False)
        scheduler.alphas_cumprod = torch.tensor(kept)
        scheduler.set_timesteps(len(sigmas))
        x = torch.tensor(x * np.sqrt(kept[-1]))
        for t in scheduler.timesteps[:-1]:
            x0 = torch.tensor(denoiser(x.numpy() / np.sqrt(kept[t]), sigmas[::-1][t]))
            x = scheduler.step(x0, t, x, **options).prev_sample
        return x.numpy() / np.sqrt(kept[0])

    return run


def subjects() -> dict[str, Any]:
    """Samplers with the orders that they claim, and tables of betas."""
    module: Any = importlib.import_module("diffusers")
    dpm = {"scaled": True, "prediction_type": "sample", "thresholding": False}
    multistep = lambda order, kind: of_sigmas(
        "DPMSolverMultistepScheduler", **dpm, solver_order=order, algorithm_type=kind
    )
    sampler = lambda run, order, **options: Sampler(run=run, order=order, **options)
    table = module.DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    kept = table.double().numpy()
    return {
        "table of Stable Diffusion": Schedule(
            alpha=lambda t: np.sqrt(kept[t]), sigma=lambda t: np.sqrt(1 - kept[t]), times=np.arange(1000), kind="vp"
        ),
        "DDIM": sampler(of_betas("DDIMScheduler"), 1),
        "DDPM": sampler(of_betas("DDPMScheduler"), 1, stochastic=True),
        "Euler": sampler(of_sigmas("EulerDiscreteScheduler", prediction_type="sample"), 1),
        "Heun": sampler(of_sigmas("HeunDiscreteScheduler", repeats=2, prediction_type="sample"), 2),
        "DPM-Solver++(2M)": sampler(multistep(2, "dpmsolver++"), 2),
        "DPM-Solver++(3M)": sampler(multistep(3, "dpmsolver++"), 3),
        "SDE-DPM-Solver++(2M)": sampler(multistep(2, "sde-dpmsolver++"), 2, stochastic=True),
        "SDE-DPM-Solver++(3M)": sampler(multistep(3, "sde-dpmsolver++"), 3, stochastic=True),
        "UniPC, solver_order=3": sampler(of_sigmas("UniPCMultistepScheduler", **dpm, solver_order=3), 3),
        "DEIS, solver_order=3": sampler(of_sigmas("DEISMultistepScheduler", **dpm, solver_order=3), 3, to_zero=False),
    }
