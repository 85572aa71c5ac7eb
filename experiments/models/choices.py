"""From names in a config to the library: schedules, targets, weightings, times and noise inputs."""

import inspect
from typing import Annotated, TypeAlias, cast

from experiments.cli.choices import Choice, Choices
from experiments.cli.fields import FRACTION, POSITIVE, Field
from scorekit import predictions, schedules, times, weightings
from scorekit.arguments import Between, Count, Each, Finite, OneOf
from scorekit.io import preconditioning
from scorekit.io.preconditioning import ClockInput, LogSNRInput, TimestepInput
from scorekit.times import TimeSampler
from scorekit.typing import Number, Schedule, Weighting

_LINEAR_LOG_SNR = Choice(
    lambda log_snr_max=13.3, log_snr_min=-5.0: schedules.learned(1, log_snr_max, log_snr_min),
    "Log-SNR linear in t, variance preserving.\n\nArgs:\n  log_snr_max: at t = 0.\n  log_snr_min: at t = 1.",
)
SCHEDULES = Choices(
    {
        "cosine": schedules.Cosine,
        "edm": schedules.EDM,
        "geometric_ve": schedules.GeometricVE,
        "laplace": schedules.Laplace,
        "learned": schedules.learned,
        "linear_log_snr": _LINEAR_LOG_SNR,
        "linear_vp": schedules.LinearVP,
        "rectified_flow": schedules.RectifiedFlow,
        "sigmoid": schedules.Sigmoid,
        "sub_vp": schedules.SubVP,
    },
    "cosine",
    "How much signal, alpha(t), and noise, sigma(t), there is at each time.",
    bounds={"beta_max": POSITIVE, "num_knots": Count(1, 1024), "sigma_max": POSITIVE},
)


def _constant(value):
    """A factory without fields."""
    return Choice(lambda: value, inspect.getdoc(value))


TARGETS = Choices(
    {
        **{name: _constant(target) for name, target in predictions.TARGETS.items()},
        "edm": predictions.EDMTarget,
        "negative_eps": preconditioning.NegativeEps,
    },
    "v",
    "What the output of the network is.",
)


def _timestep(
    betas: str = "linear",
    count: Annotated[int, Count(2, 2**20)] = 1000,
    start: Annotated[float, Between(0, 1, "both")] = 1e-4,
    end: Annotated[float, Between(0, 1, "both")] = 0.02,
    zero_snr: bool = False,
) -> TimestepInput:
    """The index in a table of betas.

    Args:
      betas: name of the table.
      count: number of steps.
      start: first beta; not of the cosine.
      end: last beta, likewise.
      zero_snr: whether the last step is noise alone.
    """
    table = {"beta_schedule": betas, "num_train_timesteps": count, "beta_start": start, "beta_end": end}
    found = preconditioning.from_scheduler({**table, "rescale_betas_zero_snr": zero_snr}).noise_input
    return cast(TimestepInput, found)


_NOISE_INPUTS = {
    "clock": Choice(
        lambda scale=4.0: ClockInput(scale=scale),
        "``scale sigma / (alpha + sigma)``.\n\nArgs:\n  scale: the value at pure noise.",
    ),
    "log_snr": Choice(
        lambda scale=0.25, offset=0.0: LogSNRInput(scale=scale, offset=offset),
        "``scale log_snr + offset``.\n\nArgs:\n  scale: of the log-SNR.\n  offset: added to it.",
    ),
    "time": Choice(
        lambda schedule, scale=1000.0: TimestepInput(schedule=schedule, last=scale),
        "``scale t``, the time of the schedule.\n\nArgs:\n  scale: the value at t = 1.",
    ),
    "timestep": Choice(
        _timestep,
        betas=Field("linear", OneOf(*preconditioning.BETAS), "the name of the table."),
    ),
    "vp": Choice(
        lambda beta_min=0.1, beta_max=20.0: preconditioning.vp(beta_min, beta_max).noise_input,
        "999 times the time of linear VP.",
        beta_min=Field(0.1, POSITIVE, "rate at t = 0."),
        beta_max=Field(20.0, POSITIVE, "rate at t = 1."),
    ),
}
NOISE_INPUTS = Choices(_NOISE_INPUTS, "log_snr", "What the network is called with for the noise level.", ("schedule",))

_Positives: TypeAlias = Annotated[tuple, Each(POSITIVE)]
_SomePositives: TypeAlias = Annotated[tuple, Each(POSITIVE, least=1)]


def _band(schedule: Schedule, power: _SomePositives, count: _Positives = ()) -> Weighting:
    return weightings.per_log_snr(weightings.band(power, count or None), schedule)


def _band_times(power: _SomePositives, count: _Positives = ()) -> TimeSampler:
    return times.band(power, count or None)


def _discrete_times(ts: Annotated[tuple, Each(FRACTION, least=1)], weights: _Positives = ()) -> TimeSampler:
    return times.discrete(ts, weights or None)


def _sigmoid(schedule: Schedule, bias: Finite[Number] = 0.0) -> Weighting:
    return weightings.per_log_snr(weightings.sigmoid(bias), schedule)


WEIGHTINGS = Choices(
    {
        "band": Choice(_band, weightings.band),
        "edm": weightings.edm,
        "eps": _constant(weightings.eps),
        "flow": _constant(weightings.flow),
        "likelihood": weightings.likelihood,
        "logit_normal": weightings.logit_normal,
        "min_snr": weightings.min_snr,
        "p2": weightings.p2,
        "score": _constant(weightings.score),
        "sigmoid": Choice(_sigmoid, weightings.sigmoid),
        "snr": _constant(weightings.snr),
        "truncated_snr": _constant(weightings.truncated_snr),
        "v": _constant(weightings.v),
        "x0": _constant(weightings.x0),
    },
    "v",
    "λ, the weight of the squared error of eps at each noise level.",
    ("schedule",),
)

ENDS = {"t_max": Between(0, 1, "low"), "t_min": Between(0, 1, "high")}
"""The first and last time of a grid, or of training."""
TIMES = Choices(
    {
        "annealed": times.annealed,
        "band": Choice(_band_times, times.band),
        "discrete": Choice(_discrete_times, times.discrete),
        "log_normal_sigma": times.LogNormalSigma,
        "logit_normal": times.LogitNormal,
        "uniform": times.Uniform,
        "uniform_log_snr": times.UniformLogSNR,
    },
    "uniform",
    "The distribution of the times, and so of the noise levels, of training.",
)
