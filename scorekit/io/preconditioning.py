"""Preconditioning: how noise level and input enter a network, and the meaning of its output.

A network F inside a preconditioning is called as ``F(c_in x_t, c_noise)``, where ``c_noise`` is a function of the
log-SNR alone, so that any schedule may take the place of the one that it was trained with.

=============== ================ ============================== ===================
preconditioning input            noise input                    output
=============== ================ ============================== ===================
:func:`ddpm`    of unit variance index in the table of betas    eps, v or x0
:func:`vp`      of unit variance ``999 t``                      eps
:func:`ve`      ``x_t``          ``log(sigma / 2)``             ``-eps``
:func:`edm`     of unit variance ``log(sigma) / 4``             F, see ``EDMTarget``
:func:`flow`    ``x_t``          ``1000 t``                     ``eps - x0``
=============== ================ ============================== ===================

>>> noise_input = lambda found, t: round(float(found.noise_input(found.schedule.log_snr(t))), 3)
>>> noise_input(ddpm("squaredcos_cap_v2"), 250 / 999), noise_input(vp(), 0.5)
(250.0, 499.5)
>>> noise_input(flow(), 0.25)
250.0
>>> noise_input(ve(), 1.0) == round(math.log(50.0), 3), noise_input(edm(), 1.0) == round(math.log(80.0) / 4, 3)
(True, True)
>>> Preconditioning(*vp())._replace(sigma_data=None).target
Eps()
>>> float(LogSNRInput(scale=-0.5)(2.0)), float(ClockInput(scale=4.0)(0.0))  # alpha = sigma
(-1.0, 2.0)
>>> float(TimestepInput(schedule=schedules.Cosine())(schedules.Cosine().log_snr(0.5)).round(1))
499.5
>>> schedule, x = schedules.GeometricVE(), jnp.ones(1)
>>> NegativeEps().to_prediction(-jnp.ones(1), x, 0.5, schedule).eps
Array([1.], dtype=float32)

Source: Karras et al. 2022, table 1 (https://arxiv.org/abs/2206.00364), but for :func:`ddpm`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from scorekit import schedules
from scorekit.arguments import Between, Count, Finite, OneOf, Positive, checked
from scorekit.denoisers import scale_input
from scorekit.io._naming import check_none, unsupported
from scorekit.predictions import EDMTarget, Eps, Target, as_target, bounded_log_snr, seen_log_snr
from scorekit.trees import as_pytree, pytree_dataclass
from scorekit.typing import Array, ArrayLike, Network, Number, Prediction, Schedule

__all__ = [
    "BETAS",
    "ClockInput",
    "LogSNRInput",
    "NegativeEps",
    "Preconditioning",
    "TimestepInput",
    "beta_table",
    "ddpm",
    "edm",
    "flow",
    "from_scheduler",
    "precondition",
    "ve",
    "vp",
]


@pytree_dataclass
class LogSNRInput:
    """The noise input ``scale log_snr + offset``, of a log-SNR that is clipped to +-20 nats.

    Attributes:
      scale: factor of the log-SNR.
      offset: noise input at log-SNR 0.
    """

    scale: Finite[Number] = 0.25
    offset: Finite[Number] = 0.0

    def __call__(self, log_snr: ArrayLike) -> Array:
        return self.scale * seen_log_snr(log_snr) + self.offset


@pytree_dataclass
class TimestepInput:
    """The noise input ``last t``, with t in [0, 1] the time at which ``schedule`` has this log-SNR.

    Attributes:
      schedule: noise schedule of the training.
      last: the noise input at t = 1.
    """

    schedule: Schedule
    last: Positive[Number] = 999.0

    def __call__(self, log_snr: ArrayLike) -> Array:
        return self.last * jnp.clip(self.schedule.time_at(jnp.asarray(log_snr)), 0.0, 1.0)


@pytree_dataclass
class ClockInput:
    """The noise input ``scale sigma / (alpha + sigma)``: like its derivative along a path, bounded at both ends.

    Attributes:
      scale: the noise input at pure noise.
    """

    scale: Positive[Number] = 4.0

    def __call__(self, log_snr: ArrayLike) -> Array:
        return self.scale * jax.nn.sigmoid(-0.5 * jnp.asarray(log_snr))


@pytree_dataclass
class NegativeEps:
    """The network predicts ``-eps``, which is sigma times the score."""

    def to_prediction(self, output, x_t, t, schedule):
        """The prediction of an output."""
        return Eps().to_prediction(jax.tree.map(jnp.negative, output), x_t, t, schedule)

    def from_prediction(self, prediction: Prediction, t, schedule):
        """The output of a prediction."""
        return jax.tree.map(jnp.negative, prediction.eps)

    def eps_scale(self, t, schedule):
        """The factor between the error of the output and the error of eps."""
        return Eps().eps_scale(t, schedule)


class Preconditioning(NamedTuple):
    """The meaning of a network's input and output.

    Attributes:
      schedule: the noise schedule that it was trained with, or any other of the same range of noise.
      target: meaning of the output.
      noise_input: ``log_snr -> c_noise``.
      sigma_data: the input is ``x_t / sqrt(sigma^2 + alpha^2 sigma_data^2)``; None for ``x_t`` itself.
    """

    schedule: Schedule
    target: Target
    noise_input: LogSNRInput | TimestepInput | ClockInput = LogSNRInput()
    sigma_data: float | None = None


def _on_noise_input(network, noise_input, schedule, x_t, t):
    return network(x_t, noise_input(bounded_log_snr(schedule, t)))


@checked
def precondition(network: Network, found: Preconditioning) -> Network:
    """The network ``(x_t, t) -> output`` from one inside a preconditioning, ``F(c_in x_t, c_noise)``.

    Args:
      network: ``(x, c_noise) -> output``.
      found: meaning of its input.

    >>> precondition(lambda x, c_noise: x + c_noise, ddpm())(jnp.zeros(1), 1.0).round(2)
    Array([999.], dtype=float32)
    """
    timed = Partial(_on_noise_input, as_pytree(network), found.noise_input, found.schedule)
    return timed if found.sigma_data is None else scale_input(timed, found.schedule, found.sigma_data)


def _from_product(product: Callable[[np.ndarray], np.ndarray]) -> Callable[[int, float, float], np.ndarray]:
    """A table whose ``1 - beta`` have this product up to a time in [0, 1]; the ends of betas do not matter."""

    def betas(count: int, start: float, end: float) -> np.ndarray:
        del start, end
        found = product(np.arange(count + 1) / count)
        return np.minimum(1.0 - found[1:] / found[:-1], 0.999)

    return betas


def _laplace(t: np.ndarray) -> np.ndarray:
    log_snr = -0.5 * np.copysign(1.0, 0.5 - t) * np.log(1.0 - 2.0 * np.abs(0.5 - t) + 1e-6)
    return np.sqrt(1.0 / (1.0 + np.exp(-log_snr)))


BETAS: Mapping[str, Callable[[int, float, float], np.ndarray]] = {
    "linear": lambda count, start, end: np.linspace(start, end, count),
    "scaled_linear": lambda count, start, end: np.linspace(math.sqrt(start), math.sqrt(end), count) ** 2,
    "squaredcos_cap_v2": _from_product(lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2),
    "sigmoid": lambda count, start, end: start + (end - start) / (1.0 + np.exp(-np.linspace(-6.0, 6.0, count))),
    "laplace": _from_product(_laplace),
}
"""The tables of betas by the names that diffusers gives them; the third is the cosine schedule of iDDPM."""

_COUNT, _BETA = Count(2, 2**20), Between(0, 1, "both")


@checked
def beta_table(
    name: Annotated[str, OneOf(*BETAS)] = "linear",
    count: Annotated[int, _COUNT] = 1000,
    start: Annotated[float, _BETA] = 1e-4,
    end: Annotated[float, _BETA] = 0.02,
) -> np.ndarray:
    """A published table of betas, float64 ``(N,)``.

    Args:
      name: ``"linear"``, ``"scaled_linear"`` (linear in the root), ``"sigmoid"`` (of 12 equal steps from -6 to 6), or
        without ends ``"squaredcos_cap_v2"`` (cosine) or ``"laplace"``.
      count: number of steps N.
      start: the first beta.
      end: the last beta.

    >>> beta_table("scaled_linear", 3, 0.01, 0.09)
    array([0.01, 0.04, 0.09])

    Source: Ho et al. 2020 (https://arxiv.org/abs/2006.11239), Nichol & Dhariwal 2021
    (https://arxiv.org/abs/2102.09672).
    """
    return BETAS[name](count, start, end)


def ddpm(betas: str | Sequence[float] | np.ndarray = "linear", target: Any = "eps") -> Preconditioning:
    """Preconditioning of a network that was trained on the discrete timesteps of a table of betas.

    ``c_noise`` is the index in the table, with linear interpolation in the log-SNR between two entries, as in
    guided-diffusion, iDDPM and DiT.

    Args:
      betas: ``(N,)``, or the name of a table of 1,000 (:func:`beta_table`).
      target: meaning of the output: "eps", "v", "x0" or a :class:`~scorekit.predictions.Target`.
    """
    table = beta_table(betas) if isinstance(betas, str) else np.asarray(betas, np.float64)
    schedule = schedules.from_betas(table)
    last = float(table.size - 1)
    return Preconditioning(schedule, as_target(target), TimestepInput(schedule=schedule, last=last), 1.0)


_SCHEDULERS = """
    CogVideoXDDIM CogVideoXDPM DDIM DDIMInverse DDIMParallel DDPM DDPMParallel DEISMultistep DPMSolverMultistep
    DPMSolverMultistepInverse DPMSolverSDE DPMSolverSinglestep EDMDPMSolverMultistep EDMEuler EulerAncestralDiscrete
    EulerDiscrete FlowMatchEulerDiscrete FlowMatchHeunDiscrete FlowMatchLCM HeunDiscrete KDPM2AncestralDiscrete
    KDPM2Discrete LCM LMSDiscrete PNDM RePaint SASolver TCD UnCLIP UniPCMultistep
"""
"""The known classes of diffusers, without the word Scheduler."""
_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}


def from_scheduler(config: Mapping[str, Any]) -> Preconditioning:
    """Preconditioning of the ``scheduler_config.json`` of a diffusers pipeline: of betas, EDM or flow matching.

    Args:
      config: ``beta_schedule``, ``beta_start``, ``beta_end``, ``num_train_timesteps``, or ``trained_betas``;
        ``prediction_type``; ``rescale_betas_zero_snr``; or of an EDM scheduler ``sigma_data`` and the range of sigma.
        Fields that only concern sampling are not read, such as the ``shift`` of flow matching.

    >>> from_scheduler({"beta_schedule": "linear", "prediction_type": "v_prediction"}).target
    V()

    Raises:
      ValueError: with all fields that are not supported.

    Source: the defaults of ``diffusers.DDPMScheduler``.
    """
    config = {"prediction_type": "epsilon", "beta_schedule": None, **config}
    name, betas = str(config.get("_class_name", "without _class_name")), config.get("trained_betas")
    other = f"config must be of a scheduler of betas, of EDM or of flow matching, got that of {name}"
    if "_class_name" in config and name.removeprefix("Flax").removesuffix("Scheduler") not in _SCHEDULERS.split():
        raise ValueError(other)
    if name.startswith("FlowMatch") or config.get("use_flow_sigmas"):
        check_none(unsupported(config, {"invert_sigmas": (False,)}))
        last = config.get("num_train_timesteps", 1000)
        Between(0, open="low").check("num_train_timesteps", last)
        return flow(last)
    if name.startswith("EDM"):
        check_none(unsupported(config, {"prediction_type": ("epsilon",)}))
        return edm(config.get("sigma_data", 0.5), config.get("sigma_min", 0.002), config.get("sigma_max", 80.0))
    if betas is None and config["beta_schedule"] is None:
        raise ValueError(other)
    only: dict[str, tuple[Any, ...]] = {"prediction_type": tuple(_PREDICTIONS), "snr_shift_scale": (None, 1.0)}
    only |= {} if betas is not None else {"beta_schedule": tuple(BETAS)}
    only |= {"timestep_type": ("discrete",)} if config["prediction_type"] == "v_prediction" else {}
    check_none(unsupported(config, only))
    if betas is None:
        given = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02} | config
        bounds = {"num_train_timesteps": _COUNT, "beta_start": _BETA, "beta_end": _BETA}
        for field, bound in bounds.items():
            bound.check(field, given[field])
        betas = beta_table(config["beta_schedule"], *(given[field] for field in bounds))
    elif config.get("num_train_timesteps", len(betas)) != len(betas):
        steps = config["num_train_timesteps"]
        raise ValueError(f"trained_betas must have num_train_timesteps = {steps} values, got {len(betas)}")
    found = ddpm(betas, _PREDICTIONS[config["prediction_type"]])
    if config.get("rescale_betas_zero_snr"):
        schedule = schedules.ZeroTerminalSNR(found.schedule)
        last = cast(TimestepInput, found.noise_input).last
        found = found._replace(schedule=schedule, noise_input=TimestepInput(schedule=schedule, last=last))
    return found


@checked
def flow(last: Positive[float] = 1000.0) -> Preconditioning:
    """Preconditioning of flow matching: ``x_t = (1 - t) x0 + t eps``, ``c_noise = last t``, the output is ``eps - x0``.

    Args:
      last: noise input at t = 1.

    Source: Lipman et al. 2023 (https://arxiv.org/abs/2210.02747), with the timesteps of diffusers.
    """
    schedule = schedules.RectifiedFlow()
    return Preconditioning(schedule, as_target("velocity"), TimestepInput(schedule=schedule, last=float(last)))


def vp(beta_min: Number = 0.1, beta_max: Number = 20.0) -> Preconditioning:
    """Preconditioning of score_sde's VP networks: ``c_noise = 999 t``, the output is eps.

    Args:
      beta_min: rate at t = 0, > 0.
      beta_max: rate at t = 1, >= ``beta_min``.
    """
    schedule = schedules.LinearVP(beta_min=beta_min, beta_max=beta_max)
    return Preconditioning(schedule, as_target("eps"), TimestepInput(schedule=schedule), 1.0)


def ve(sigma_min: Number = 0.02, sigma_max: Number = 100.0) -> Preconditioning:
    """Preconditioning of score_sde's VE networks, of data in [-1, 1]: ``c_noise = log(sigma / 2)``, the output -eps.

    Args:
      sigma_min: noise at t = 0; score_sde's own numbers are for data in [0, 1], half of these.
      sigma_max: noise at t = 1, > ``sigma_min``.
    """
    inputs = LogSNRInput(scale=-0.5, offset=-math.log(2.0))
    return Preconditioning(schedules.GeometricVE(sigma_min=sigma_min, sigma_max=sigma_max), NegativeEps(), inputs)


@checked
def edm(sigma_data: Positive[float] = 0.5, sigma_min: Number = 0.002, sigma_max: Number = 80.0) -> Preconditioning:
    """Preconditioning of EDM and EDM2: ``c_noise = log(sigma) / 4``, unit variance of input and output.

    Args:
      sigma_data: standard deviation of the data.
      sigma_min: noise at t = 0, >= 0.
      sigma_max: noise at t = 1, > ``sigma_min``.
    """
    schedule, inputs = schedules.EDM(sigma_min=sigma_min, sigma_max=sigma_max), LogSNRInput(scale=-0.125)
    return Preconditioning(schedule, EDMTarget(sigma_data=sigma_data), inputs, float(sigma_data))
