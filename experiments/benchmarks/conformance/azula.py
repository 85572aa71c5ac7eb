"""azula: samplers of a denoiser whose schedule is ``x0 + t eps``, and its own schedules."""

import importlib
import types
from typing import Any

import numpy as np

from scorekit.conformance import Posterior, Sampler, Schedule

NAME = "azula"


def sampler_of(name: str, stochastic: bool = False, **options: Any):
    """The run of a sampler; its time is sigma."""
    torch: Any = importlib.import_module("torch")
    sample: Any = importlib.import_module("azula.sample")
    denoise: Any = importlib.import_module("azula.denoise")

    def run(denoiser, x, sigmas, rng):
        class Exact(torch.nn.Module):
            schedule = staticmethod(lambda t: (torch.ones_like(t), t))

            def forward(self, x, t):
                return denoise.DiracPosterior(torch.tensor(np.array(denoiser(x.numpy(), float(t)))))

        if stochastic:
            normal = lambda x: torch.tensor(rng.standard_normal(x.shape))
            sample.torch = types.SimpleNamespace(**{**vars(torch), "randn_like": normal})
        kind = type(name, (getattr(sample, name),), {"timesteps": torch.tensor(np.array(sigmas))})
        return kind(Exact(), silent=True, **options)(torch.tensor(np.array(x))).numpy()

    return run


def subjects() -> dict[str, Any]:
    """Schedules, samplers with the orders that they claim, and moment matching of posteriors."""
    torch: Any = importlib.import_module("torch")
    noise, sample, denoise = (importlib.import_module(f"azula.{each}") for each in ("noise", "sample", "denoise"))
    mmps, covariance = (importlib.import_module(f"azula.{each}") for each in ("guidance.mmps", "linalg.covariance"))

    def schedule(name, kind):
        values = lambda t, k: getattr(noise, name)()(torch.tensor(t))[k].numpy()
        return Schedule(alpha=lambda t: values(t, 0), sigma=lambda t: values(t, 1), kind=kind)

    def sampler(name, claimed, to_zero=True, stochastic=False, **options):
        run = sampler_of(name, stochastic, **options)
        return Sampler(run=run, order=claimed, stochastic=stochastic, to_zero=to_zero)

    def posterior(problem, operator, observation, std, n, rng):
        class Exact(torch.nn.Module):
            schedule = noise.VESchedule(1e-3, 1e2)

            def forward(self, x, t):
                sigma = self.schedule(t)[1]
                return denoise.DiracPosterior(mean_of(problem, x, sigma))

        torch.manual_seed(int(rng.integers(2**31)))
        a, noisy = torch.tensor(operator), covariance.IsotropicCovariance(torch.tensor(std**2))
        guided = mmps.MMPSDenoiser(Exact(), torch.tensor(observation), lambda x: x @ a.T, noisy, iterations=4)
        return sample.DDPMSampler(guided, steps=64, silent=True)(1e2 * torch.randn(n, problem.dim)).numpy()

    def mean_of(problem, x, sigma):
        means, covs = torch.tensor(problem.means), torch.tensor(problem.covariances)
        off, total = x[:, None] - means, covs + sigma**2 * torch.eye(problem.dim)
        solved = torch.linalg.solve(total, off[..., None])[..., 0]
        logits = torch.tensor(problem.weights).log() - 0.5 * ((off * solved).sum(-1) + torch.logdet(total))
        each = means + (covs @ solved[..., None])[..., 0]
        return (logits.softmax(-1)[..., None] * each).sum(1)

    torch.set_default_dtype(torch.float64)
    return {
        "VPSchedule": schedule("VPSchedule", "vp"),
        "VESchedule": schedule("VESchedule", "ve"),
        "CosineSchedule": schedule("CosineSchedule", "vp"),
        "RectifiedSchedule": schedule("RectifiedSchedule", "flow"),
        "DDPM": sampler("DDPMSampler", 1, stochastic=True),
        "DDIM": sampler("DDIMSampler", 1),
        "Heun": sampler("HeunSampler", 2, to_zero=False),
        "Ito": sampler("ItoSampler", 1, stochastic=True),
        "zAB, order=3": sampler("zABSampler", 3, order=3),
        "vAB, order=3": sampler("vABSampler", 3, order=3),
        "zEAB, order=3": sampler("zEABSampler", 3, to_zero=False, order=3),
        "zEAB, order=3, to sigma = 0": sampler("zEABSampler", None, order=3),
        "xEAB, order=3": sampler("xEABSampler", 3, to_zero=False, order=3),
        "REAB, order=2": sampler("REABSampler", 2, to_zero=False, order=2),
        "MMPS, 64 steps": Posterior(sample=posterior, problems=15),
    }
