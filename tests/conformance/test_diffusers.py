"""diffusers: its schedulers, driven one step at a time at noise levels that we choose."""

import inspect

import numpy as np
import pytest

from scorekit.conformance import Sampler, Schedule, check

DEFECTS = {
    ("DPM-Solver++(3M)", "order"),  # half of one term of the third order
    ("SDE-DPM-Solver++(3M)", "order"),  # this term has another sign
    ("SDE-DPM-Solver++(3M)", "density"),
}


def sampler(torch, kind, order, repeats=1, scaled=True, stochastic=False, to_zero=True, **options):
    """A scheduler whose table of sigmas is replaced by ours; the state is ``x / sqrt(1 + sigma^2)`` if scaled."""

    def run(denoiser, x, sigmas, rng):
        to_zero = sigmas[-1] == 0
        ends = {"final_sigmas_type": "zero" if to_zero else "sigma_min", "lower_order_final": to_zero}
        known = inspect.signature(kind).parameters
        ends = {key: value for key, value in ends.items() if key in known}
        scheduler = kind(prediction_type="sample", **options, **ends)
        scheduler.set_timesteps(len(sigmas) - 1)
        table = np.concatenate([sigmas[:1], np.repeat(sigmas[1:-1], repeats), sigmas[-1:]])
        scheduler.sigmas, scheduler.timesteps = torch.tensor(table), torch.arange(len(table) - 1.0)
        scale = np.hypot(1.0, table) if scaled else np.ones_like(table)
        x = torch.tensor(x / scale[0])
        for k, t in enumerate(scheduler.timesteps):
            scheduler.scale_model_input(x, t)
            x0 = torch.tensor(denoiser(x.numpy() * scale[k], table[k]))
            noise = {"variance_noise": torch.tensor(rng.standard_normal(x.shape))} if stochastic else {}
            x = scheduler.step(x0, t, x, **noise).prev_sample
        return x.numpy() * scale[-1]

    return Sampler(run=run, order=order, stochastic=stochastic, to_zero=to_zero)


@pytest.mark.external
def test_diffusers(torch):
    diffusers = pytest.importorskip("diffusers")
    dpm, sde = diffusers.DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++", "stochastic": True}
    table = diffusers.DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).alphas_cumprod
    kept = lambda t: table.double().numpy()[t.astype(int)]
    alpha, sigma = (lambda t: np.sqrt(kept(t))), (lambda t: np.sqrt(1 - kept(t)))
    subjects = {
        "Stable Diffusion": Schedule(alpha=alpha, sigma=sigma, times=np.arange(1000), kind="vp"),
        "Euler": sampler(torch, diffusers.EulerDiscreteScheduler, 1, scaled=False),
        "Heun": sampler(torch, diffusers.HeunDiscreteScheduler, 2, repeats=2, scaled=False),
        "DPM-Solver++(2M)": sampler(torch, dpm, 2, solver_order=2),
        "DPM-Solver++(3M)": sampler(torch, dpm, 3, solver_order=3),
        "SDE-DPM-Solver++(2M)": sampler(torch, dpm, 2, solver_order=2, **sde),
        "SDE-DPM-Solver++(3M)": sampler(torch, dpm, 3, solver_order=3, **sde),
        "UniPC": sampler(torch, diffusers.UniPCMultistepScheduler, 3, solver_order=3),
        "DEIS": sampler(torch, diffusers.DEISMultistepScheduler, 3, to_zero=False, solver_order=3),
    }
    report = check("diffusers", subjects)
    assert {(each.subject, each.name) for each in report.failed} == DEFECTS, str(report)
