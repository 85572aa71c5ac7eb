"""From names and numbers in a config to the functions of the library: the only place where strings are resolved."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import flax.linen as nn
import jax.numpy as jnp
import optax
from jax.tree_util import Partial

from experiments.models import rules
from experiments.data.conditions import check_dropout
from experiments.cli.config import Config, ConfigError, choice, require, resolve
from scorekit import predictions, schedules, solvers, times, training, tuning, weightings
from scorekit.networks import MLP, Autoencoder, Classifier, UNet, WaveNet
from scorekit.predictions import Target
from scorekit.samplers.loop import check_grid
from scorekit.times import TimeSampler
from scorekit.typing import Array, Schedule, Solver, Weighting

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


def _module(kind: type[nn.Module]) -> Callable[..., nn.Module]:
    """A factory that takes what the module takes, its dtype by name."""
    fields = inspect.signature(kind).parameters.values()
    taken = [
        field.replace(default="float32", annotation=str) if field.name == "dtype" else field
        for field in fields
        if field.name not in ("parent", "name")
    ]

    def make(dtype: str = "float32", **sizes) -> nn.Module:
        return kind(dtype=jnp.dtype(dtype), **sizes)  # type: ignore[call-arg]

    make.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    return make


NETWORKS: Mapping[str, Callable] = {"mlp": _module(MLP), "unet": _module(UNet), "wavenet": _module(WaveNet)}
CLASSIFIERS: Mapping[str, Callable] = {"unet_encoder": _module(Classifier)}
AUTOENCODERS: Mapping[str, Callable] = {"convolutional": _module(Autoencoder)}
OPTIMIZERS = get_args(training.OptimizerName)


def _unipc(predictor: int = 2, coordinate: str = "flow") -> solvers.UniPC:
    return solvers.UniPC(predictor=predictor, coordinate=coordinate)  # type: ignore[arg-type]


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
    "renoise": lambda t_min=0.0: solvers.MultistepConsistency(t_min=t_min),
    "sa_solver": solvers.SASolver,
    "unipc": _unipc,
}


def _vp_quadratic(schedule: Schedule, n: int, t_max=1.0, t_min=0.0, power=3.0) -> Array:
    """``t^(1 / power)`` in equal steps on linear VP, at its noise levels, as far as both schedules have them."""
    vp = schedules.linear_vp()
    levels = jnp.clip(schedule.log_snr(jnp.array([t_max, t_min])), vp.log_snr(1.0), vp.log_snr(0.0))
    ts = schedule.time_at(vp.log_snr(solvers.grids.quadratic(n, *vp.time_at(levels), power=power)))
    return jnp.clip(ts, t_min, t_max).at[-1].set(t_min)


def _saved_grid(n: int, path: str, t_max=1.0, t_min=0.0, rho=7.0, power=2.0) -> tuning.SavedGrid:
    del t_max, t_min, rho, power  # of the run's own grid: the file has its times
    saved = tuning.load_grid(Path(path).expanduser())
    if saved.steps != n:
        raise ValueError(f"sampling.steps must be {saved.steps}, as tuned in {path}, got {n}")
    return saved


def _given_times(n: int, times: tuple) -> Array:
    if len(times) != n + 1:
        raise ValueError(f"times must be {n + 1} for sampling.steps = {n}, got {len(times)}")
    ts = jnp.asarray(times, jnp.float32)
    check_grid(ts)
    return ts


GRIDS: Mapping[str, Callable] = {
    "file": _saved_grid,
    "karras": lambda schedule, n, t_max=0.999, t_min=0.001, rho=7.0: solvers.grids.karras(
        schedule, n, t_max, t_min, rho=rho
    ),
    "quadratic": lambda n, t_max=1.0, t_min=0.0, power=2.0: solvers.grids.quadratic(n, t_max, t_min, power=power),
    "log_snr": lambda schedule, n, t_max=0.999, t_min=0.001: solvers.grids.uniform_log_snr(schedule, n, t_max, t_min),
    "times": _given_times,
    "uniform": lambda n, t_max=1.0, t_min=0.0: solvers.grids.uniform(n, t_max, t_min),
    "vp_quadratic": _vp_quadratic,
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


def build_optimizer(options: Config, learning_rate: float | None = None) -> optax.GradientTransformation:
    """The optimiser that ``config.training`` describes, at another peak rate if one is given."""
    return training.make_optimizer(
        options.learning_rate if learning_rate is None else learning_rate,
        options.warmup_steps,
        options.steps,
        options.final_fraction,
        options.clip_norm,
        options.weight_decay,
        options.optimizer or OPTIMIZERS[0],
    )


def build_network(
    config: Config,
    num_classes: int | None,
    *,
    vector_size: int | None = None,
    map_shape: tuple[int, ...] | None = None,
):
    """The Flax module for these conditions."""
    return _build_module(
        config, "network", NETWORKS, num_classes=num_classes, vector_size=vector_size, map_shape=map_shape
    )


def build_classifier(config: Config, num_classes: int) -> Classifier:
    """The Flax module of a classifier's config."""
    return _build_module(config, "classifier", CLASSIFIERS, num_classes=num_classes)


def build_autoencoder(config: Config, data_channels: int) -> Autoencoder:
    """The Flax module of an autoencoder's config, for data of so many channels."""
    return _build_module(config, "autoencoder", AUTOENCODERS, data_channels=data_channels)


def _build_module(config, section, table, **offered):
    dtypes = ("float32", "bfloat16", None)
    dtype = config[section].dtype
    require(dtype in dtypes, f"{section}.dtype", dtype, "float32 or bfloat16")
    return resolve(config, section, table, **offered)


def build_sampler(config: Config, schedule: Schedule) -> tuple[Solver, Array]:
    """The solver and its time grid, checked against schedule and target; the grid of a file may bring its numbers."""
    require(config.sampling.steps >= 1, "sampling.steps", config.sampling.steps, "at least 1")
    solver = resolve(config, "sampling.solver", SOLVERS)
    ts = resolve(config, "sampling.grid", GRIDS, schedule=schedule, n=config.sampling.steps)
    if isinstance(ts, tuning.SavedGrid):
        try:
            solver = tuning.restore_solver(ts, solver, schedule)
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


def check_choices(config: Config, scales: Sequence[float] | None = None) -> None:
    """Refuses unknown names and impossible combinations; compiles nothing.

    Args:
      config: the whole config.
      scales: the guidance scales that are to be sampled at; by default all that the config names.
    """
    schedule = build_schedule(config)
    build_target(config)
    build_weighting(config, schedule)
    build_times(config)
    build_network(config, 10)
    build_sampler(config, schedule)
    check_training(config)
    decays = tuple(map(str, config.training.ema_decays)) or ("none",)
    choice("sampling.ema", config.sampling.ema, (*decays, "none"))
    check_dropout(config)
    if scales is None:
        scales = (config.sampling.guidance_scale, *config.evaluation.guidance_scales)
    rules.check_rules(config, schedule, scales)


def check_training(config: Config) -> None:
    """Refuses a ``training`` section that no run could have."""
    options = config.training
    choice("training.optimizer", options.optimizer or OPTIMIZERS[0], OPTIMIZERS)
    choice("training.parallel", options.parallel, ("jit", "pmap"))
    for field in ("steps", "batch_size", "accumulate", "log_every", "checkpoint_every", "sample_every", "skip_limit"):
        require(options[field] >= 1, f"training.{field}", options[field], "at least 1")
    require(
        0 <= options.warmup_steps < options.steps,
        "training.warmup_steps",
        options.warmup_steps,
        f"at least 0 and below training.steps={options.steps}",
    )
    for decay in options.ema_decays:
        require(0 <= decay < 1, "training.ema_decays", options.ema_decays, "decays in [0, 1)")
