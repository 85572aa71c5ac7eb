"""From names and numbers in a config to the functions of the library: the only place where strings are resolved."""

from collections.abc import Callable, Mapping
from pathlib import Path

import jax.numpy as jnp
from jax.tree_util import Partial

from experiments.config import Config, ConfigError, choice, require, resolve
from scorekit import guidance, predictions, schedules, solvers, times, training, weightings
from scorekit.networks import MLP, UNet
from scorekit.predictions import Target
from scorekit.times import TimeSampler
from scorekit.typing import Array, Denoiser, Schedule, Solver, Weighting

SCHEDULES: Mapping[str, Callable] = {
    "cosine": schedules.cosine,
    "edm": schedules.edm,
    "geometric_ve": schedules.geometric_ve,
    "laplace": schedules.laplace,
    "linear_vp": schedules.linear_vp,
    "rectified_flow": schedules.rectified_flow,
    "sigmoid": schedules.sigmoid,
    "sub_vp": schedules.sub_vp,
}


def _constant(value):
    """A factory without fields."""
    return lambda: value


TARGETS: Mapping[str, Callable] = {
    **{name: _constant(target) for name, target in predictions.TARGETS.items()},
    "edm": predictions.edm_target,
}


def _band(schedule: Schedule, power: tuple, count: tuple = ()) -> Weighting:
    return weightings.per_log_snr(weightings.band(power, count or None), schedule)


def _band_times(power: tuple, count: tuple = ()) -> TimeSampler:
    return times.band(power, count or None)


def _levels(ts: tuple, weights: tuple = ()) -> TimeSampler:
    return times.levels(ts, weights or None)


WEIGHTINGS: Mapping[str, Callable] = {
    "band": _band,
    "edm": lambda sigma_data=0.5: Partial(weightings.edm, sigma_data=sigma_data),
    "eps": _constant(weightings.eps),
    "flow": _constant(weightings.flow),
    "likelihood": weightings.likelihood,
    "logit_normal": lambda mean=0.0, std=1.0: Partial(weightings.logit_normal, mean=mean, std=std),
    "min_snr": lambda gamma=5.0: Partial(weightings.min_snr, gamma=gamma),
    "p2": lambda gamma=1.0, k=1.0: Partial(weightings.p2, gamma=gamma, k=k),
    "score": _constant(weightings.score),
    "sigmoid": lambda schedule, bias=0.0: weightings.per_log_snr(Partial(weightings.sigmoid, bias=bias), schedule),
    "snr": _constant(weightings.snr),
    "truncated_snr": _constant(weightings.truncated_snr),
    "v": _constant(weightings.v),
    "x0": _constant(weightings.x0),
}

TIMES: Mapping[str, Callable] = {
    "annealed": times.annealed,
    "band": _band_times,
    "levels": _levels,
    "log_normal_sigma": times.log_normal_sigma,
    "logit_normal": times.logit_normal,
    "uniform": times.uniform,
    "uniform_log_snr": times.uniform_log_snr,
}


def _unet(
    num_classes: int | None,
    channels: int = 32,
    multipliers: tuple = (1, 2),
    blocks: int = 1,
    attention_resolutions: tuple = (),
    heads: int = 1,
    dtype: str = "float32",
) -> UNet:
    return UNet(
        channels=channels,
        multipliers=multipliers,
        blocks=blocks,
        attention_resolutions=attention_resolutions,
        heads=heads,
        num_classes=num_classes,
        dtype=jnp.dtype(dtype),
    )


def _mlp(num_classes: int | None, features: int = 128, blocks: int = 3, dtype: str = "float32") -> MLP:
    return MLP(features=features, blocks=blocks, num_classes=num_classes, dtype=jnp.dtype(dtype))


NETWORKS: Mapping[str, Callable] = {"mlp": _mlp, "unet": _unet}

SOLVERS: Mapping[str, Callable] = {
    "adams_bashforth": solvers.AdamsBashforth,
    "ancestral": _constant(solvers.Ancestral()),
    "ddim": solvers.ddim,
    "dpmpp_2m": solvers.DPMSolverPP2M,
    "dpmpp_2m_sde": solvers.DPMSolverPP2MSDE,
    "dpm_solver": solvers.DPMSolver,
    "euler": solvers.Euler,
    "euler_maruyama": solvers.EulerMaruyama,
    "exponential_adams_bashforth": solvers.ExponentialAdamsBashforth,
    "heun": solvers.Heun,
    "predictor_corrector": lambda corrector_steps=1, snr=0.16: solvers.PredictorCorrector(
        corrector_steps=corrector_steps, snr=snr
    ),
    "sa_solver": solvers.SASolver,
    "unipc": solvers.UniPC,
}


def _saved_grid(n: int, path: str) -> training.SavedGrid:
    saved = training.load_grid(Path(path).expanduser())
    if saved.steps != n:
        raise ValueError(f"sampling.steps must be {saved.steps}, as tuned in {path}, got {n}")
    return saved


GRIDS: Mapping[str, Callable] = {
    "file": _saved_grid,
    "karras": lambda schedule, n, t_max=0.999, t_min=0.001, rho=7.0: solvers.grids.karras(
        schedule, n, t_max, t_min, rho=rho
    ),
    "quadratic": lambda n, t_max=1.0, t_min=0.0, power=2.0: solvers.grids.quadratic(n, t_max, t_min, power=power),
    "log_snr": lambda schedule, n, t_max=0.999, t_min=0.001: solvers.grids.uniform_log_snr(schedule, n, t_max, t_min),
    "uniform": lambda n, t_max=1.0, t_min=0.0: solvers.grids.uniform(n, t_max, t_min),
}

THRESHOLDS: Mapping[str, Callable] = {
    "dynamic": guidance.dynamic_threshold,
    "none": lambda denoiser: denoiser,
    "static": guidance.static_threshold,
}


def build_schedule(config: Config) -> Schedule:
    """The schedule, shifted by ``config.noise_factor``."""
    schedule = resolve(config, "schedule", SCHEDULES)
    require(config.noise_factor > 0, "noise_factor", config.noise_factor, "> 0")
    return schedule if config.noise_factor == 1 else schedules.shifted(schedule, config.noise_factor)


def build_target(config: Config) -> Target:
    """What the network predicts."""
    return resolve(config, "loss.target", TARGETS)


def build_weighting(config: Config, schedule: Schedule) -> Weighting:
    """The weighting of the loss."""
    return resolve(config, "loss.weighting", WEIGHTINGS, schedule=schedule)


def build_times(config: Config) -> TimeSampler:
    """The sampler of training times."""
    return resolve(config, "loss.times", TIMES)


def build_network(config: Config, num_classes: int | None):
    """The Flax module."""
    dtypes = ("float32", "bfloat16", None)
    require(config.network.dtype in dtypes, "network.dtype", config.network.dtype, "float32 or bfloat16")
    return resolve(config, "network", NETWORKS, num_classes=num_classes)


def build_sampler(config: Config, schedule: Schedule) -> tuple[Solver, Array]:
    """The solver and its time grid, checked against schedule and target; the grid of a file may bring its numbers."""
    require(config.sampling.steps >= 1, "sampling.steps", config.sampling.steps, "at least 1")
    solver = resolve(config, "sampling.solver", SOLVERS)
    ts = resolve(config, "sampling.grid", GRIDS, schedule=schedule, n=config.sampling.steps)
    if isinstance(ts, training.SavedGrid):
        try:
            solver = training.restore_solver(ts, solver, schedule)
        except ValueError as error:
            raise ConfigError(f"config.sampling.grid.path={config.sampling.grid.path}: {error}") from error
        ts = ts.ts
    no_signal = float(schedule.alpha(ts[0])) == 0
    target = config.loss.target.name
    if no_signal and (target in ("eps", "score") or isinstance(solver, solvers.EulerMaruyama)):
        blame = f"target {target}" if target in ("eps", "score") else "solver euler_maruyama"
        allowed = f"below 1 (say 0.999): {blame} divides by alpha(t), which is 0 there for {config.schedule.name}"
        require(False, "sampling.grid.t_max", float(ts[0]), allowed)
    return solver, ts


def apply_threshold(config: Config, denoiser: Denoiser, schedule: Schedule) -> Denoiser:
    """The denoiser behind the chosen thresholding."""
    return resolve(config, "sampling.threshold", THRESHOLDS, denoiser=denoiser, schedule=schedule)


def check_choices(config: Config) -> None:
    """Refuses unknown names and impossible combinations; compiles nothing."""
    schedule = build_schedule(config)
    build_target(config)
    build_weighting(config, schedule)
    build_times(config)
    build_network(config, 10)
    build_sampler(config, schedule)
    apply_threshold(config, lambda x, t: None, schedule)  # type: ignore[arg-type, return-value]
    choice("training.parallel", config.training.parallel, ("jit", "pmap"))
    training = config.training
    for field in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "sample_every", "skip_limit"):
        require(training[field] >= 1, f"training.{field}", training[field], "at least 1")
    require(
        0 <= training.warmup_steps < training.steps,
        "training.warmup_steps",
        training.warmup_steps,
        f"at least 0 and below training.steps={training.steps}",
    )
    for decay in training.ema_decays:
        require(0 <= decay < 1, "training.ema_decays", training.ema_decays, "decays in [0, 1)")
    decays = tuple(map(str, training.ema_decays)) or ("none",)
    choice("sampling.ema", config.sampling.ema, (*decays, "none"))
    require(0 <= config.loss.label_dropout <= 1, "loss.label_dropout", config.loss.label_dropout, "in [0, 1]")
    scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    guided = any(scale != 1 for scale in scales)
    require(
        not guided or config.loss.label_dropout > 0,
        "loss.label_dropout",
        config.loss.label_dropout,
        f"> 0: guidance scales {scales} need a trained null token",
    )
    low, high = config.sampling.guidance_noise_min, config.sampling.guidance_noise_max
    require(0 <= low < high, "sampling.guidance_noise_min", low, f"in [0, sampling.guidance_noise_max={high})")
