"""Makes ``ports_<package>.npz``: what the calls in the table of "The same numbers" on a page of docs/coming_from give.

    python tests/golden/make_ports.py <folder> <package>

Needs the package, and torch but for hackable_diffusion; no jax else. EDM and score_sde are no packages: the environment
variable PORTS names a folder with clones, ``edm`` (github.com/NVlabs/edm) and ``score_sde`` (of score_sde_pytorch,
github.com/yang-song). The network is the exact denoiser of a mixture of Gaussians, all numbers are float64, and all
noise is drawn from numpy, the start first.
"""

import importlib
import os
import re
import sys
import types
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from ports_pages import PAGES, SHAPE, rows
from random_tensors import save

WEIGHTS, MEANS, STD = (0.25, 0.5, 0.25), ((-1.0, 0.5), (0.8, 0.2), (0.1, -1.2)), 0.3
STATE = np.random.RandomState()


def denoised(x, alpha, sigma, modes=3):
    """``E[x0 | x_t]`` of the mixture, or of its first ``modes``, for scalars or ``(B,)``; as x, of torch or numpy."""
    means, weights = np.array(MEANS[:modes]), np.array(WEIGHTS[:modes])
    alpha, sigma = (np.reshape(np.asarray(each), (-1, 1)) for each in (alpha, sigma))
    variance, offset = (alpha * STD) ** 2 + sigma**2, np.asarray(x)[:, None] - alpha[..., None] * means
    logits = np.log(weights) - 0.5 * np.sum(offset**2, -1) / variance
    share = np.exp(logits - logits.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    found = (share[..., None] * (means + (alpha * STD**2 / variance)[..., None] * offset)).sum(1)
    return found if isinstance(x, np.ndarray) else x.new_tensor(found)


def diffusers(call, start):
    import diffusers
    import torch

    of_scheduler, _, of_step = call.partition("; ")
    page = (PAGES / "diffusers.md").read_text()
    stable = eval(re.findall(r"^stable = ({.*?^})", page, re.MULTILINE | re.DOTALL)[0])
    name = of_scheduler.partition("(")[0]
    scheduler = eval(of_scheduler, {name: getattr(diffusers, name), "stable": stable})
    options = eval(f"dict({of_step})")
    scheduler.set_timesteps(20)
    alpha, sigma = scheduler.alphas_cumprod.sqrt(), (1 - scheduler.alphas_cumprod).sqrt()
    x = start * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        assert t == t.round()
        now = alpha[t.long()], sigma[t.long()]
        scaled = scheduler.scale_model_input(x, t)
        cond, uncond = ((scaled - now[0] * denoised(scaled, *now, modes)) / now[1] for modes in (1, 3))
        x = scheduler.step(uncond + 7.5 * (cond - uncond), t, x, **options).prev_sample
    return {"x": x, "timesteps": scheduler.timesteps, "sigmas": getattr(scheduler, "sigmas", torch.zeros(1))}


def k_diffusion(call, start):
    spec = None if "k_diffusion" in sys.modules else find_spec("k_diffusion")
    if "k_diffusion" not in sys.modules:  # without its __init__, which imports trainers and evaluators
        sys.modules["k_diffusion"] = types.ModuleType("k_diffusion")
        sys.modules["k_diffusion"].__path__ = list(spec.submodule_search_locations)
    import torch

    sampling = importlib.import_module("k_diffusion.sampling")
    sigmas = sampling.get_sigmas_karras(18, 0.002, 80.0)
    given = {
        "model": lambda x, sigma: denoised(x, 1.0, sigma),
        "sigmas": sigmas,
        "x": start * sigmas[0],
        "noise_sampler": lambda *_: torch.randn_like(start),
    }
    return {"x": eval(call, vars(sampling) | given)}


class _EDM:
    sigma_min, sigma_max, round_sigma = 0.0, float("inf"), staticmethod(lambda sigma: sigma)

    def __call__(self, x, sigma, labels):
        return denoised(x, 1.0, sigma)


def edm(call, start):
    sys.path.insert(0, os.path.join(os.environ["PORTS"], "edm"))
    return {"x": eval(call, vars(importlib.import_module("generate")) | {"net": _EDM(), "latents": start})}


def score_sde(call, start):
    import torch

    sys.path.insert(0, os.path.join(os.environ["PORTS"], "score_sde"))
    sampling, sde_lib = (importlib.import_module(name) for name in ("sampling", "sde_lib"))
    x, corrected = start[..., None, None], []

    class Corrector(sampling.LangevinCorrector):
        def update_fn(self, x, t):
            corrected.append(super().update_fn(x, t))
            return corrected[-1]

    class Model(torch.nn.Module):
        def __init__(self, sde):
            super().__init__()
            self.sde = sde

        def forward(self, x, index):
            x, index, explodes = x[..., 0, 0], index.long(), isinstance(self.sde, sde_lib.VESDE)
            if explodes:
                alpha, sigma = torch.ones(len(x)), self.sde.discrete_sigmas.flip(0)[index]
            else:
                alpha, sigma = self.sde.sqrt_alphas_cumprod[index], self.sde.sqrt_1m_alphas_cumprod[index]
            eps = (x - alpha[:, None] * denoised(x, alpha, sigma)) / sigma[:, None]
            return (-eps / sigma[:, None] if explodes else eps)[..., None, None]

    def get_pc_sampler(sde, *args, **options):
        sde.prior_sampling = lambda shape: x * getattr(sde, "sigma_max", 1.0)
        return sampling.get_pc_sampler(sde, *args, **options, device="cpu")(Model(sde))[0]

    given = {"get_pc_sampler": get_pc_sampler, "LangevinCorrector": Corrector, "inverse_scaler": lambda x: x}
    found = eval(call, vars(sampling) | vars(sde_lib) | given | {"shape": x.shape})
    states = {"x": found} | ({"corrected": corrected[0][0]} if corrected else {})
    return {name: state[..., 0, 0] for name, state in states.items()}


def azula(call, start):
    import azula.noise
    import azula.sample
    import torch

    class Denoiser(torch.nn.Module):
        schedule = azula.noise.VPSchedule()

        def forward(self, x, t):
            return types.SimpleNamespace(mean=denoised(x, *self.schedule(t)))

    return {"x": eval(call, vars(azula.sample) | {"denoiser": Denoiser()})(start)}


def hackable_diffusion(call, start):
    import jax
    from hackable_diffusion.lib.corruption import gaussian, schedules
    from hackable_diffusion.lib.sampling import gaussian_step_sampler, sampling, time_scheduling

    jax.config.update("jax_enable_x64", True)
    jax.random.normal = lambda key, shape: jax.numpy.asarray(STATE.standard_normal(shape))
    schedule = schedules.LinearDiffusionSchedule()

    def inference_fn(xt, conditioning, time):
        return {"x0": jax.numpy.asarray(denoised(np.asarray(xt), schedule.alpha(time), schedule.sigma(time)))}

    names = vars(gaussian_step_sampler) | vars(time_scheduling) | vars(sampling)
    sampler = eval(call, names | {"process": gaussian.GaussianProcess(schedule=schedule)})
    with jax.disable_jit():
        return {"x": sampler(inference_fn, jax.random.key(0), jax.numpy.asarray(start))[0].xt}


def flow_matching(call, start):
    import flow_matching.solver
    import torch
    import torchdyn.core

    class Model(torch.nn.Module):
        def forward(self, t, x, **_):
            clean = denoised(x, t, 1 - t)
            return clean - (x - t * clean) / (1 - t)

    names = vars(torchdyn.core) | vars(flow_matching.solver)
    return {"x": eval(call, names | {"model": Model(), "torch": torch, "x": start})}


PACKAGES: dict[str, Callable] = {
    "diffusers": diffusers,
    "k_diffusion": k_diffusion,
    "edm": edm,
    "score_sde": score_sde,
    "azula": azula,
    "hackable_diffusion": hackable_diffusion,
    "flow_matching": flow_matching,
}


def use_torch() -> Callable:
    """Lets torch work in float64 and draw from ``STATE``; returns the converter of arrays."""
    import torch

    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float64  # the schedulers of diffusers ask for it
    np.float32 = np.float64  # type: ignore[misc]
    torch.randn = lambda *shape, **_: torch.from_numpy(STATE.standard_normal(*shape))
    torch.randn_like = lambda x, **_: torch.randn(x.shape)
    return torch.from_numpy


def main() -> None:
    package, found = sys.argv[2], {}
    convert = np.asarray if package == "hackable_diffusion" else use_torch()
    for call, *_ in rows(package):
        STATE.seed(0)
        start = convert(STATE.standard_normal(SHAPE))
        found |= {f"{call} {name}": np.asarray(value) for name, value in PACKAGES[package](call, start).items()}
    save(f"ports_{package}", {}, {"page": f"docs/coming_from/{package}.md"}, **found)


if __name__ == "__main__":
    main()
