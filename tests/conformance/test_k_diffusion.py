"""k-diffusion: functions of a denoiser and noise levels; its state is ours."""

import importlib
import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest

from scorekit.conformance import Likelihood, Loss, Sampler, check

DEFECTS = {("DPM++(3M) SDE, eta=0", "order"), ("DPM++(3M) SDE", "order")}  # half of one term of the third order


def modules():
    """Its sampling and layers, without its ``__init__``, which imports trainers and evaluators."""
    spec = find_spec("k_diffusion")
    if spec is None:
        pytest.skip("needs k_diffusion")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules.setdefault("k_diffusion", package)
    return importlib.import_module("k_diffusion.sampling"), importlib.import_module("k_diffusion.layers")


@pytest.mark.external
def test_k_diffusion(torch):
    sampling, layers = modules()

    def sampler(name, order, stochastic=False, **options):
        def run(denoiser, x, sigmas, rng):
            model = lambda x, sigma: torch.tensor(denoiser(x.numpy(), sigma.numpy()))
            noise = {"noise_sampler": lambda *_: torch.tensor(rng.standard_normal(x.shape))} if stochastic else {}
            call = getattr(sampling, f"sample_{name}")
            return call(model, torch.tensor(x), torch.tensor(sigmas), disable=True, **options, **noise).numpy()

        return Sampler(run=run, order=order, stochastic=stochastic)

    def loss(denoiser, x0, seed):
        noise, log_sigma = np.split(np.random.default_rng(seed).standard_normal((len(x0), 3)), [2], axis=1)
        karras, sigma = layers.Denoiser(None, sigma_data=0.5), torch.tensor(np.exp(log_sigma[:, 0] - 0.5))

        def network(scaled, sigma):
            skip, out, into = (each[:, None] for each in karras.get_scalings(sigma))
            x = scaled / into
            return (torch.tensor(denoiser(x.numpy(), sigma.numpy())) - skip * x) / out

        karras.inner_model = network
        return karras.loss(torch.tensor(x0), torch.tensor(noise), sigma).numpy()

    def log_prob(problem, x):
        torch.manual_seed(0)
        mean, cov = torch.tensor(problem.mean), torch.tensor(problem.covariance)
        model = lambda x, sigma: mean + (x - mean) @ torch.linalg.solve(cov + sigma[0] ** 2 * torch.eye(2), cov)
        return sampling.log_likelihood(model, torch.tensor(x), 1e-3, 100.0, atol=1e-8, rtol=1e-8)[0].numpy()

    subjects = {
        "Euler": sampler("euler", 1),
        "Euler ancestral": sampler("euler_ancestral", 1, stochastic=True),
        "Heun": sampler("heun", 2),
        "DPM-2": sampler("dpm_2", 2),
        "LMS, order=4": sampler("lms", 4),
        "DPM++(2S) ancestral": sampler("dpmpp_2s_ancestral", 1, stochastic=True),
        "DPM++ SDE": sampler("dpmpp_sde", 1, eta=1.0, stochastic=True),
        "DPM++(2M)": sampler("dpmpp_2m", 2),
        "DPM++(2M) SDE": sampler("dpmpp_2m_sde", 2, eta=1.0, stochastic=True),
        "DPM++(3M) SDE, eta=0": sampler("dpmpp_3m_sde", 3, eta=0.0),
        "DPM++(3M) SDE": sampler("dpmpp_3m_sde", 3, eta=1.0, stochastic=True),
        "Denoiser.loss": Loss(value=loss, weight=lambda sigma: 1 / sigma**2 + 4),
        "log_likelihood": Likelihood(log_prob=log_prob, count=500),
    }
    report = check("k-diffusion", subjects)
    assert {(each.subject, each.name) for each in report.failed} == DEFECTS, str(report)
