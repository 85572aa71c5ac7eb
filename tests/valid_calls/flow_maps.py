"""Flow maps, distillation and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import densities, times
from scorekit.bridges import diffrax as bridge
from scorekit.flow_maps.progressive import Steps
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import ANY_S, ANY_T, ENDS, FLOW, KEY, OUTPUT, PREDICTION, SAME, S, T, X, denoiser, fixed
from valid_calls.kinds import Data, Number, Shaped, Time, call

_MIDDLE = 0.5 * (T + S)
_TIMES = Times(T, np.ones(2, np.float32))
_NORMAL = densities.gaussian(np.zeros(3, np.float32), std=1.0)
_T_MIN = Number(0.0, low=-1.0, high=2.0)
_NETWORK_T, _NETWORK_S = Data(T, ENDS), Data(S, ENDS)
_X0 = Shaped(X, alias="prediction; x0", of=fixed)
_LEARNED = {"student": PREDICTION, "t_min": _T_MIN, "weight": Data(np.ones(2, np.float32), "integer")}
USUAL = {
    **dict.fromkeys(("x0", "eps", "a", "b", "x_s", "main", "adversarial", "fake_logits", "fake_features"), Data(X)),
    **dict.fromkeys(("flow_map", "student", "denoiser"), PREDICTION),
    **dict.fromkeys(("teacher", "target", "real", "conditional", "unconditional"), denoiser),
    "schedule": FLOW,
    "t": Time(T),
    "s": Time(S),
    "network": OUTPUT,
    "x_t": SAME,
    "middle": Time(_MIDDLE),
    "key": KEY,
    "n": 2,
    "ts": Data(np.array([1.0, 0.5, 0.0], np.float32)),
    "fake": Shaped(X, of=fixed),
    "samples": Data(X, alias="x0"),
    "times": Data(_TIMES, ENDS, alias="t"),
    "x": Data(X, "empty; integer: diffrax keeps the state in float32"),
}
_PLAIN = "transport middle_time squared_error pseudo_huber step_weight student_steps"
ROWS = {
    **{f"flow_maps.{name}": call() for name in f"{_PLAIN} matching_loss fake_score_loss".split()},
    "flow_maps.clock": call(t=ANY_T),
    "flow_maps.earlier_time": call(t=ANY_T, steps=4),
    **{f"flow_maps.{name}_loss": call(flow_map=_X0) for name in ("eulerian", "lagrangian", "semigroup")},
    **{f"flow_maps.consistency_{name}_loss": call(**_LEARNED) for name in ("training", "distillation")},
    "flow_maps.flow_map_from_network": call(
        then="x_t t s",
        x_t=Data(X, "nan: NaN stays NaN", alias="t"),
        t=_NETWORK_T,
        s=Data(S, f"{ENDS}; nan: the network takes it"),
        target="velocity",
    ),
    "flow_maps.condition_on_clocks": call(
        then="x_t t s", network=lambda x, level, span: level + span, x_t=X, t=ANY_T, s=ANY_S, scale=1.0
    ),
    "flow_maps.semigroup_error": call(
        flow_map=denoiser, x_t=Data(X, "shape; empty: no example, no error", alias="middle")
    ),
    "flow_maps.exact_map": call(then="x_t t s", density=_NORMAL, t=_NETWORK_T, s=_NETWORK_S, steps=2),
    "flow_maps.adaptive_weighted": call(loss=Data(T, "shape, integer; empty: no example, no loss")),
    "flow_maps.two_times": call(sampler=times.uniform()),
    "flow_maps.shortcut_steps": call(t_max=Number(1.0, low=-1.0, high=2.0), t_min=_T_MIN),
    "flow_maps.guided_velocity": call(then="x_t t", example=Data(Prediction(X, X)), scale=2.0, x_t=X, t=T),
    "flow_maps.tuning_time": call(t=ANY_T, stage=3),
    "flow_maps.consistency_function": call(then="x_t t", t=_NETWORK_T, t_min=_T_MIN),
    "flow_maps.boundary_coefficients": call(target="v", t=ANY_T, t_min=_T_MIN),
    "flow_maps.curriculum": call(progress=ANY_T, first=1, last=4),
    "flow_maps.chord": call(x_t=Data(X, "empty, shape", alias="t")),
    "flow_maps.two_step_prediction": call(teacher=PREDICTION),
    "flow_maps.progressive_loss": call(x0=Data(X, alias="steps"), steps=Data(Steps(T, _MIDDLE, S), alias="t")),
    "flow_maps.halvings": call(first=8, last=2),
    "flow_maps.reverse_kl_gradient": call(real=Shaped(X, of=fixed)),
    "flow_maps.discriminator_loss": call(real_logits=Data(X, "shape", alias="fake_logits")),
    "flow_maps.adversarial_loss": call(fake_logits=Data(X, "shape")),
    "flow_maps.noised_logits": call(discriminator=lambda x_t, t: x_t, x=Data(X, alias="x0")),
    "flow_maps.optimal_logits": call(real=_NORMAL, fake=_NORMAL, x_t=Data(X)),
    "flow_maps.gradient_penalty": call(
        discriminator=Data(
            X,
            "shape, integer; nan: a constant has no gradient",
            alias="logits; x",
            of=lambda logits: lambda x: logits + 0.0 * jnp.sum(x),
        ),
        x=Data(X, "shape; nan: nothing here depends on it", alias="logits"),
    ),
    "flow_maps.feature_matching_loss": call(real_features=Data(X, alias="fake_features")),
    "flow_maps.balancing_weight": call(main=Data(X, alias="adversarial")),
    "bridges.diffrax.ode_term": call(
        lambda prediction, x: bridge.ode_term(fixed(prediction), FLOW).vf(0.5, x, None), prediction=Shaped(X)
    ),
    "bridges.diffrax.reversed_time": call(t=ANY_T),
    "bridges.diffrax.reverse_sde": call(
        lambda prediction, x: bridge.reverse_sde(fixed(prediction), FLOW, lambda r0, r1: 0.0 * X)
        .terms[0]
        .vf(0.5, x, None),
        prediction=Shaped(X),
    ),
}
