"""azula: samplers of a denoiser whose schedule is ``x0 + t eps``, and its own schedules."""

import importlib
import types

import pytest

from scorekit.conformance import Posterior, Sampler, Schedule, check

DEFECTS = {
    ("RectifiedSchedule", "kind"),  # keeps both ends above 0: alpha + sigma is 1.001
    ("REAB, order=2", "last step"),
    ("REAB, order=2", "order"),  # takes sigma at the start of a step, whereas its formula has sigma at the end
    ("Ito", "last step"),  # a step of Euler-Maruyama leaves noise
}


@pytest.mark.external
def test_azula(torch, monkeypatch):
    pytest.importorskip("azula")
    noise, sample, denoise = (importlib.import_module(f"azula.{each}") for each in ("noise", "sample", "denoise"))
    mmps, covariance = (importlib.import_module(f"azula.{each}") for each in ("guidance.mmps", "linalg.covariance"))

    def schedule(name, kind):
        values = lambda t, k: getattr(noise, name)()(torch.tensor(t))[k].numpy()
        return Schedule(alpha=lambda t: values(t, 0), sigma=lambda t: values(t, 1), kind=kind)

    class Exact(torch.nn.Module):
        def __init__(self, predict, schedule):
            super().__init__()
            self.predict, self.schedule = predict, schedule

        def forward(self, x, t):
            return denoise.DiracPosterior(self.predict(x, self.schedule(t)[1]))

    def sampler(name, claimed, to_zero=True, stochastic=False, **options):
        def run(denoiser, x, sigmas, rng):
            predict = lambda x, sigma: torch.tensor(denoiser(x.numpy(), float(sigma)))
            if stochastic:
                normal = lambda x: torch.tensor(rng.standard_normal(x.shape))
                monkeypatch.setattr(sample, "torch", types.SimpleNamespace(**{**vars(torch), "randn_like": normal}))
            kind = type(name, (getattr(sample, name),), {"timesteps": torch.tensor(sigmas)})
            exact = Exact(predict, lambda t: (torch.ones_like(t), t))
            return kind(exact, silent=True, **options)(torch.tensor(x)).numpy()

        return Sampler(run=run, order=claimed, stochastic=stochastic, to_zero=to_zero)

    def posterior(problem, operator, observation, std, n, rng):
        means, covs, weights = (torch.tensor(x) for x in (problem.means, problem.covariances, problem.weights))

        def predict(x, sigma):  # of torch, since its gradient is needed
            off, total = x[:, None] - means, covs + sigma**2 * torch.eye(problem.dim)
            solved = torch.linalg.solve(total, off[..., None])
            logits = weights.log() - 0.5 * ((off * solved[..., 0]).sum(-1) + torch.logdet(total))
            return (logits.softmax(-1)[..., None] * (means + (covs @ solved)[..., 0])).sum(1)

        torch.manual_seed(int(rng.integers(2**31)))
        a, noisy = torch.tensor(operator), covariance.IsotropicCovariance(torch.tensor(std**2))
        exact = Exact(predict, noise.VESchedule(1e-3, 1e2))
        guided = mmps.MMPSDenoiser(exact, torch.tensor(observation), lambda x: x @ a.T, noisy, iterations=4)
        return sample.DDPMSampler(guided, steps=256, silent=True)(1e2 * torch.randn(n, problem.dim)).numpy()

    subjects = {
        "MMPS, 256 steps": Posterior(sample=posterior, problems=15),
        "VPSchedule": schedule("VPSchedule", "vp"),
        "VESchedule": schedule("VESchedule", "ve"),
        "CosineSchedule": schedule("CosineSchedule", "vp"),
        "RectifiedSchedule": schedule("RectifiedSchedule", "flow"),
        "DDIM": sampler("DDIMSampler", 1),
        "Heun": sampler("HeunSampler", 2, to_zero=False),
        "vAB, order=3": sampler("vABSampler", 3, order=3),
        "zEAB, order=3": sampler("zEABSampler", 3, to_zero=False, order=3),
        "xEAB, order=3": sampler("xEABSampler", 3, to_zero=False, order=3),
        "REAB, order=2": sampler("REABSampler", 2, to_zero=False, order=2),
        "DDPM": sampler("DDPMSampler", 1, stochastic=True),
        "Ito": sampler("ItoSampler", 1, stochastic=True),
    }
    report = check("azula", subjects)
    assert {(each.subject, each.name) for each in report.failed} == DEFECTS, str(report)
