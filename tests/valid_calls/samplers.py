"""Solvers and time grids, samplers, likelihoods and variational bounds; flow maps, distillation and bridges."""

import jax.numpy as jnp
import numpy as np

from scorekit import denoisers, densities, flow_maps, likelihood, samplers, schedules, solvers, times
from scorekit.bridges import diffrax as bridge
from scorekit.conformance import levy
from scorekit.flow_maps.progressive import Steps
from scorekit.times import Times
from scorekit.typing import Prediction
from valid_calls.common import (
    COSINE,
    EACH,
    ENDS,
    FLOATS,
    FLOW,
    OUTPUT,
    PREDICTION,
    SAME,
    TS,
    X,
    denoiser,
    fixed,
    floats,
)
from valid_calls.kinds import Choice, Classes, Count, Data, Number, Shaped, Time, call

_SCHEDULE, _ANCESTRAL, _TS = schedules.linear_vp(), solvers.Ancestral(), floats(1.0, 0.5, 0.1)
_STATE = Data(X, "shape")
_ENDS = {"t_max": 0.9, "t_min": 0.1}
_ADAPTIVE = {"rtol": Number(0.1, low=0.0, high=1.0), "atol": 0.1, "max_steps": 50, "t_start": 0.9, "t_end": 0.1}
_GIVEN_X, _GIVEN_TS = floats([1.0, -1.0]), Data(floats(0.9, 0.5, 0.1))
_EXACT = {
    "denoiser": denoisers.exact_denoiser(densities.gaussian(np.zeros(2, np.float32), std=1.0), COSINE),
    "schedule": COSINE,
}
_RANGE = {"t_min": 0.01, "t_max": 0.9}
_T, _S, _MIDDLE = floats(0.5, 0.75), floats(0.125, 0.25), floats(0.3125, 0.5)
_ANY_T, _ANY_S = (Time(t, "axes, longer") for t in (_T, _S))
_NETWORK_T, _NETWORK_S = Data(_T, ENDS), Data(_S, ENDS)
_NORMAL = densities.gaussian(np.zeros(3, np.float32), std=1.0)
_MAP = flow_maps.exact_map(_NORMAL, _SCHEDULE)
_AT_X = lambda density: density.log_density(X)
_T_MIN = Number(0.0, low=-1.0, high=2.0)
_LEARNED = {"student": PREDICTION, "t_min": _T_MIN, "weight": FLOATS}


def _denoiser(x, t):
    """Runs on anything."""
    return Prediction(0.5 * x, x)


def _log_density(x):
    return -0.5 * jnp.sum(jnp.square(x), axis=tuple(range(1, x.ndim)))


USUAL = {
    "solvers samplers likelihood": {
        "ts": Data(_TS, "integer: only [1, 0] could be meant, and ones do not decrease"),
        "times": _TS,
        **dict.fromkeys(("denoiser", "base", "source", "target"), _denoiser),
        "schedule": _SCHEDULE,
        "solver": solvers.Euler(),
        **dict.fromkeys(("x", "x_init"), _STATE),
        "x0": Data(_GIVEN_X, alias="x_t"),
        "log_weights": Data(np.log(floats(0.5, 0.25, 0.25)), "integer"),
        "log_likelihood": _log_density,
    },
    "flow_maps bridges": {
        **dict.fromkeys(("a", "b", "x_s", "main", "adversarial", "fake_logits", "fake_features"), Data(X)),
        **dict.fromkeys(("flow_map", "student", "denoiser"), PREDICTION),
        **dict.fromkeys(("teacher", "target", "real", "conditional", "unconditional"), denoiser),
        "t": Time(_T),
        "s": Time(_S),
        "network": OUTPUT,
        "x_t": SAME,
        "middle": Time(_MIDDLE),
        "fraction": Data(_MIDDLE, "below, above: any place of the path; integer: 0 and 1 are the ends"),
        "probe": Data(X),
        "head": OUTPUT,
        "ts": Data(TS),
        "fake": Shaped(X, of=fixed),
        "samples": Data(X, alias="x0"),
        "times": Data(Times(_T, EACH), ENDS, alias="t"),
        "x": Data(X, "empty; integer: diffrax keeps the state in float32"),
    },
}
ROWS = {
    "solvers.DPS": call(  # takes no step: its constructor validates
        lambda **given: solvers.DPS(**given).order,
        operator=lambda x: x,
        observation=X,
        inner=solvers.Euler(),
        step_size=0.5,
    ),
    "solvers.grids.from_sigmas": call(sigmas=Data(floats(9.0, 1.0, 0.1), "integer: [9, 1, 0]")),
    **{f"solvers.grids.{name}": call(**_ENDS) for name in ("karras", "uniform_log_snr", "vp_quadratic")},
    "solvers.grids.matching": call(other=_SCHEDULE, ts=Data(_TS, "integer")),
    "solvers.noise_levels": call(times=Data(_TS, "shape, integer, empty")),
    "solvers.noise_levels/max_past": call(max_past=2),
    "solvers.precomputed": call(
        lambda ts: samplers.sample(
            None, _denoiser, _SCHEDULE, solvers.precomputed(solvers.Euler(), _SCHEDULE, ts), X, _TS
        ),
        ts=Data(_TS, "integer"),
    ),
    "samplers.adaptive_ode": call(**_ADAPTIVE, coordinate="flow", block_size=8),
    "samplers.annealed_posterior": call(
        solver=solvers.DPMSolverPP2M(),
        ts=Data(floats(1.0, 0.5, 0.0), "integer"),
        operator=lambda x: x,
        observation=Data(X[0], "shape, integer"),
        stages=2,
        steps=2,
    ),
    "samplers.few_steps": call(steps=Count(8, least=5), sigma_data=1.0, guidance_scale=3.0, t_max=0.9, t_min=0.001),
    "samplers.langevin": call(score=lambda x: -x),
    "samplers.metropolis_langevin": call(log_density=_log_density, answer=lambda found: found[0]),
    "samplers.product_sample": call(conditions=[_denoiser], weights=[2.0], solver=_ANCESTRAL),
    "samplers.recommended": call(sigma_data=1.0, t_max=0.9, t_min=0.001),
    "samplers.recommended/target": call(target=Choice("eps"), t_max=0.9, t_min=0.001),
    "samplers.repaint": call(
        solver=_ANCESTRAL,
        x_init=Data(X, "nan: what is known is replaced"),
        mask=Shaped(np.array([True, False, False])),
        observation=Shaped(X),
        jump_length=1,
        resamples=1,
    ),
    "samplers.sample": call(key=None),
    "samplers.sample_with_log_probs": call(solver=_ANCESTRAL),
    "samplers.sgld": call(noisy_score=lambda key, x: -x, step_sizes=Data(floats(0.1, 0.1), "integer")),
    "samplers.trajectory_log_probs": call(solver=_ANCESTRAL, trajectory=Data(np.stack([X, X, X]), "shape")),
    "samplers.twisted_sample": call(solver=_ANCESTRAL, softening=0.1),
    "conformance.gibbs": call(
        signals=levy("laplace", 2),
        matrix=Data(np.eye(2, dtype=np.float32), "integer"),
        observation=Data(floats(1.0, 0.5), "integer"),
        draws=2,
        burn_in=1,
    ),
    "likelihood.bits_per_dim": call(
        log_p=Data(floats(-3.0), "integer, shape, empty"), bins=4, dequantisation="uniform"
    ),
    "likelihood.dequantised_bits_per_dim": call(
        log_density=lambda key, z: jnp.sum(z, axis=-1), x=Classes(np.array([[0, 1], [2, 3]]), num_classes=4), bins=4
    ),
    "likelihood.variational_bound": call(num_times=2, **_EXACT, **_RANGE),
    "likelihood.variational_bound/bins": call(num_times=2, bins=2, **_EXACT),
    "likelihood.boundary_terms": call(schedule=COSINE, eps=Data(_GIVEN_X), bins=2, **_RANGE),
    "likelihood.discrete_variational_bound": call(ts=_GIVEN_TS, bins=2, **_EXACT),
    "likelihood.log_likelihood": call(key=None, rtol=0.1, atol=0.1, max_steps=100, block_size=8, **_EXACT, **_RANGE),
    "likelihood.log_likelihood/probes": call(divergence="rademacher", ts=_GIVEN_TS, **_EXACT),
    "likelihood.flow_density": call(answer=_AT_X, event_shape=(3,), rtol=0.1, atol=0.1),
    "likelihood.flow_map_density": call(answer=_AT_X, event_shape=(3,), flow_map=_MAP),
    "likelihood.line_density": call(answer=_AT_X, event_shape=(3,), start=Data(floats(0.0), "shape, integer")),
    "likelihood.score_density": call(
        lambda x, **given: likelihood.score_density(**given).score(x),
        denoiser=_denoiser,
        schedule=COSINE,
        event_shape=(3,),
        x=Data(X, "shape: leading axes"),
    ),
    **dict.fromkeys(("flow_maps.clock", "bridges.diffrax.reversed_time"), call(t=_ANY_T)),
    "flow_maps.earlier_time": call(t=_ANY_T),
    **dict.fromkeys(
        [f"flow_maps.{name}_loss" for name in ("eulerian", "lagrangian", "semigroup")],
        call(flow_map=Shaped(X, alias="prediction; x0", of=fixed)),
    ),
    **{f"flow_maps.consistency_{name}_loss": call(**_LEARNED) for name in ("training", "distillation")},
    "flow_maps.flow_map_from_network": call(
        then="x_t t s",
        x_t=Data(X, "nan: NaN stays NaN", alias="t"),
        t=_NETWORK_T,
        s=Data(_S, f"{ENDS}; nan: the network takes it"),
        target="velocity",
    ),
    "flow_maps.condition_on_clocks": call(
        then="x_t t s", network=lambda x, level, span: level + span, x_t=X, t=_ANY_T, s=_ANY_S, scale=1.0
    ),
    "flow_maps.semigroup_error": call(
        flow_map=denoiser, x_t=Data(X, "shape; empty: no example, no error", alias="middle")
    ),
    "flow_maps.log_det_from_network": call(then="x_t t s", x_t=Data(X, alias="t"), t=_NETWORK_T, s=_NETWORK_S),
    "flow_maps.jacobian_log_det": call(
        then="x_t t s", flow_map=denoiser, x_t=Data(X, "shape", alias="t"), t=_ANY_T, s=_ANY_S
    ),
    "flow_maps.exact_log_det": call(
        then="x_t t s", x_t=Data(X, alias="t"), density=_NORMAL, t=_NETWORK_T, s=_NETWORK_S, steps=2
    ),
    "flow_maps.exact_map": call(then="x_t t s", density=_NORMAL, t=_NETWORK_T, s=_NETWORK_S, steps=2),
    "flow_maps.adaptive_weighted": call(loss=Data(_T, "shape, integer; empty: no example, no loss")),
    "flow_maps.two_times": call(sampler=times.uniform()),
    "flow_maps.shortcut_steps": call(t_max=Number(1.0, low=-1.0, high=2.0), t_min=_T_MIN),
    "flow_maps.guided_velocity": call(example=Data(Prediction(X, X)), scale=2.0, x_t=X, t=_T),
    "flow_maps.tuning_time": call(t=_ANY_T),
    "flow_maps.consistency_function": call(then="x_t t", t=_NETWORK_T, t_min=_T_MIN),
    "flow_maps.curriculum": call(progress=_ANY_T),
    "flow_maps.chord": call(x_t=Data(X, "empty, shape", alias="t")),
    "flow_maps.progressive_loss": call(x0=Data(X, alias="steps"), steps=Data(Steps(_T, _MIDDLE, _S), alias="t")),
    "flow_maps.halvings": call(first=8, last=2),
    "flow_maps.kernel_drift": call(
        x=Data(X, alias="data"),
        data=Data(X),
        samples=Data(X),
        data_weights=Number(1.0, low=-1.0),
        sample_weights=Number(1.0, low=-1.0),
    ),
    "flow_maps.drift_weights": call(
        labels=Classes(np.array([0, 1]), "negative, too large", num_classes=2),
        data_labels=Classes(np.array([1, 1, 0]), "negative, too large", num_classes=2),
        guidance_scale=2.0,
    ),
    "flow_maps.drifting_loss": call(samples=Data(X, alias="data"), data=Data(X), bandwidths=(0.5,)),
    "flow_maps.discriminator_loss": call(real_logits=Data(X, "shape", alias="fake_logits")),
    "flow_maps.adversarial_loss": call(fake_logits=Data(X, "shape")),
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
    "bridges.diffrax.reverse_sde": call(
        lambda prediction, x: bridge.reverse_sde(fixed(prediction), FLOW, lambda r0, r1: 0.0 * X)
        .terms[0]
        .vf(0.5, x, None),
        prediction=Shaped(X),
    ),
}
