"""Flow maps, distillation and bridges."""

import jax
import jax.numpy as jnp
import numpy as np

from scorekit import densities, flow_maps, schedules, times
from scorekit.bridges import diffrax as bridge
from scorekit.flow_maps.progressive import Steps
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.kinds import Count, Data, Number, Shaped, Time, call

_FLOW = schedules.rectified_flow()
_KEY = jax.random.key(0)
_X = np.ones((2, 3), np.float32)
_T, _S = np.array([0.5, 0.75], np.float32), np.array([0.125, 0.25], np.float32)
_GRID = np.array([1.0, 0.5, 0.0], np.float32)
_TIMES = Times(_T, np.ones(2, np.float32))
_TREE = Data(_X, "empty, shape", alias="t")
_DRAWN = Data(_TIMES, "integer: 0 and 1 are times", alias="t")
_NORMAL = densities.gaussian(np.zeros(3, np.float32), std=1.0)


def _denoiser(x, t):
    zero = 0.0 * (jnp.sum(x) + jnp.sum(t))
    return Prediction(x + zero, x + zero)


def _denoise_between(x, t, s):
    return _denoiser(x, t)


def _fixed(x0):
    return lambda x, t: jax.tree.map(lambda leaf: leaf + 0.0 * (jnp.sum(x) + jnp.sum(t)), Prediction(x0, x0))


def _consistency(prediction, x0, eps, t, s, t_min, weight):
    return flow_maps.consistency_training_loss(
        _fixed(prediction), _denoiser, _FLOW, x0, eps, t, s, t_min=t_min, weight=weight
    )


def _from_teacher(prediction, x0, eps, t, s, t_min, weight):
    return flow_maps.consistency_distillation_loss(
        _fixed(prediction), _denoiser, _denoiser, _FLOW, x0, eps, t, s, t_min=t_min, weight=weight
    )


def _flow_map(prediction):
    return lambda x, t, s=0.0: _fixed(prediction)(x, t)


def _residual(loss, **options):
    return lambda prediction, x0, eps, t, s, **given: loss(
        _flow_map(prediction), _FLOW, x0, eps, t, s, **options, **given
    )


_BATCH = {"x0": Data(_X), "eps": Data(_X), "t": Time(_T), "s": Time(_S)}
_PAIR = Prediction(_X, _X)
_CONSISTENCY = {
    "prediction": Shaped(_X),
    "x0": Data(_X),
    "eps": Data(_X),
    "t": Time(_T),
    "s": Time(_S),
    "t_min": Number(0.0, low=-1.0, high=2.0),
    "weight": Data(np.ones(2, np.float32), "integer"),
}
USUAL = {
    "schedule": _FLOW,
    "t": Time(_T),
    "s": Time(_S),
    "prediction": Shaped(_X),
    "x_t": Data(_X, alias="t"),
    "eps": Data(_X),
    "output": Shaped(_X),
    "middle": Time(0.5 * (_T + _S)),
    "key": _KEY,
    "n": 2,
    "t_min": Number(0.0, low=-1.0, high=2.0),
    "a": Data(_X),
    "b": Data(_X),
    "ts": Data(_GRID),
    "fake": Shaped(_X),
    "samples": Data(_X, alias="x0"),
    "times": _DRAWN,
    "x": Data(_X, "empty; integer: diffrax keeps the state in float32"),
}
ROWS = {
    "flow_maps.clock": call(t=Time(_T, "axes, longer")),
    "flow_maps.flow_map_from_network": call(
        lambda output, x_t, t, s, target: flow_maps.flow_map_from_network(lambda x, t, s: output, _FLOW, target)(
            x_t, t, s
        ),
        x_t=Data(_X, "nan: NaN stays NaN", alias="t"),
        t=Data(_T, "integer: 0 and 1 are times"),
        s=Data(_S, "integer: 0 and 1 are times; nan: the network takes it"),
        target="velocity",
    ),
    "flow_maps.condition_on_clocks": call(
        lambda t, s, scale: flow_maps.condition_on_clocks(lambda x, level, span: level + span, _FLOW, scale)(_X, t, s),
        t=Time(_T, "axes, longer"),
        s=Time(_S, "axes, longer"),
        scale=1.0,
    ),
    "flow_maps.transport": call(
        lambda prediction, x_t, t, s: flow_maps.transport(_flow_map(prediction), _FLOW, x_t, t, s)
    ),
    "flow_maps.semigroup_error": call(
        flow_map=_denoise_between, x_t=Data(_X, "shape; empty: no example, no error", alias="middle")
    ),
    "flow_maps.exact_map": call(
        lambda x_t, t, s, steps: flow_maps.exact_map(densities.gaussian(jnp.zeros(3), std=1.0), _FLOW, steps)(
            x_t, t, s
        ),
        t=Data(_T, "integer: 0 and 1 are times"),
        s=Data(_S, "integer: 0 and 1 are times"),
        steps=2,
    ),
    "flow_maps.eulerian_loss": call(_residual(flow_maps.eulerian_loss), prediction=Shaped(_X, alias="x0"), **_BATCH),
    "flow_maps.lagrangian_loss": call(
        _residual(flow_maps.lagrangian_loss), prediction=Shaped(_X, alias="x0"), **_BATCH
    ),
    "flow_maps.semigroup_loss": call(
        lambda prediction, x0, eps, t, middle, s, shortest: flow_maps.semigroup_loss(
            _flow_map(prediction), _FLOW, x0, eps, t, middle, s, shortest=shortest
        ),
        prediction=Shaped(_X, alias="x0"),
        **_BATCH,
        shortest=0.0,
    ),
    "flow_maps.adaptive_weighted": call(loss=Data(_T, "shape, integer; empty: no example, no loss")),
    "flow_maps.two_times": call(sampler=times.uniform()),
    "flow_maps.middle_time": call(),
    "flow_maps.shortcut_steps": call(t_max=Number(1.0, low=-1.0, high=2.0), t_min=Number(0.0, low=-1.0, high=2.0)),
    "flow_maps.guided_velocity": call(
        lambda example, scale, mix: flow_maps.guided_velocity(example, _denoiser, _denoiser, scale, mix)(_X, _T),
        example=Data(_PAIR),
        scale=2.0,
        mix=0.5,
    ),
    "flow_maps.tuning_time": call(t=Time(_T, "axes, longer"), stage=3),
    "flow_maps.FlowMapSolver": call(
        lambda gamma, t_min: flow_maps.FlowMapSolver(gamma=gamma, t_min=t_min).row(_FLOW, np.array([0.25, 0.5]), 0),
        gamma=0.5,
        t_min=0.0,
    ),
    "flow_maps.consistency_function": call(
        lambda prediction, x_t, t, t_min: flow_maps.consistency_function(_fixed(prediction), _FLOW, t_min)(x_t, t),
        t=Data(_T, "integer: 0 and 1 are times"),
    ),
    "flow_maps.boundary_coefficients": call(
        target="v", t=Time(_T, "axes, longer"), t_min=Number(0.0, low=-1.0, high=2.0)
    ),
    "flow_maps.squared_error": call(),
    "flow_maps.pseudo_huber": call(),
    "flow_maps.earlier_time": call(t=Time(_T, "axes, longer"), steps=4),
    "flow_maps.curriculum": call(progress=Time(_T, "axes, longer"), first=1, last=4),
    "flow_maps.step_weight": call(),
    "flow_maps.consistency_training_loss": call(_consistency, **_CONSISTENCY),
    "flow_maps.consistency_distillation_loss": call(_from_teacher, **_CONSISTENCY),
    "flow_maps.student_steps": call(),
    "flow_maps.chord": call(x_t=_TREE, x_s=Data(_X)),
    "flow_maps.two_step_prediction": call(
        lambda prediction, x_t, t, middle, s: flow_maps.two_step_prediction(
            _fixed(prediction), x_t, t, middle, s, _FLOW
        )
    ),
    "flow_maps.progressive_loss": call(
        lambda output, x0, eps, steps: flow_maps.progressive_loss(
            lambda x, t: output, _denoiser, _FLOW, x0, eps, steps
        ),
        x0=Data(_X, alias="steps"),
        steps=Data(Steps(_T, 0.5 * (_T + _S), _S), alias="t"),
    ),
    "flow_maps.halvings": call(first=Count(8), last=2),
    "flow_maps.reverse_kl_gradient": call(
        lambda fake, real, x_t, t: flow_maps.reverse_kl_gradient(_fixed(fake), _fixed(real), _FLOW, x_t, t),
        real=Shaped(_X),
    ),
    "flow_maps.matching_loss": call(
        lambda fake, samples, eps, times: flow_maps.matching_loss(samples, _fixed(fake), _denoiser, _FLOW, eps, times)
    ),
    "flow_maps.fake_score_loss": call(
        lambda output, samples, eps, times: flow_maps.fake_score_loss(lambda x, t: output, samples, _FLOW, eps, times)
    ),
    "flow_maps.discriminator_loss": call(real_logits=Data(_X, "shape", alias="fake_logits"), fake_logits=Data(_X)),
    "flow_maps.adversarial_loss": call(fake_logits=Data(_X, "shape")),
    "flow_maps.noised_logits": call(discriminator=lambda x_t, t: x_t, x=Data(_X, alias="x0")),
    "flow_maps.optimal_logits": call(real=_NORMAL, fake=_NORMAL, x_t=Data(_X)),
    "flow_maps.gradient_penalty": call(
        lambda logits, x: flow_maps.gradient_penalty(lambda x: logits + 0.0 * jnp.sum(x), x),
        logits=Data(_X, "shape, integer; nan: a constant has no gradient", alias="x"),
        x=Data(_X, "shape; nan: nothing here depends on it", alias="logits"),
    ),
    "flow_maps.feature_matching_loss": call(real_features=Data(_X, alias="fake_features"), fake_features=Data(_X)),
    "flow_maps.balancing_weight": call(main=Data(_X, alias="adversarial"), adversarial=Data(_X)),
    "bridges.diffrax.ode_term": call(lambda prediction, x: bridge.ode_term(_fixed(prediction), _FLOW).vf(0.5, x, None)),
    "bridges.diffrax.reversed_time": call(t=Time(_T, "axes, longer")),
    "bridges.diffrax.reverse_sde": call(
        lambda prediction, x: bridge.reverse_sde(_fixed(prediction), _FLOW, lambda r0, r1: 0.0 * _X)
        .terms[0]
        .vf(0.5, x, None)
    ),
}
