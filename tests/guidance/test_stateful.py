"""Stateful denoisers: carried by ``sample``, by an explicit loop and by every wrapper; errors where unsupported."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from errors import raising
from rule_table import COND, SCHEDULE, UNCOND, same

from scorekit import Prediction, guidance, likelihood, samplers, solvers
from scorekit.guidance import StatefulDenoiser, apg, init_denoiser_state
from scorekit.trees import pytree_dataclass

X = jax.random.normal(jax.random.key(0), (5, 2))
TS = jnp.array([0.85, 0.6, 0.4, 0.2])
KEY = jax.random.key(3)
APG = apg(COND, UNCOND, SCHEDULE, 3.0, parallel=0.2, momentum=0.6, norm_threshold=2.0)
WRAPPED = guidance.dynamic_threshold(
    guidance.rescale(guidance.interval(APG, COND, SCHEDULE, 0.3, 3.0), COND, SCHEDULE, 0.3), SCHEDULE, 0.9, 1.5
)


class Reference:
    """The momentum of ``WRAPPED`` in a Python variable, with its rules applied one by one to predictions."""

    def __init__(self):
        self.before = jnp.zeros_like(X)

    def __call__(self, x, t):
        fixed = lambda prediction: lambda x, t: prediction
        cond, uncond = COND(x, t), UNCOND(x, t)
        noise = jnp.exp(-0.5 * SCHEDULE.log_snr(t))
        inside = (noise > 0.3) & (noise <= 3.0)
        difference = cond.x0 - uncond.x0 + 0.6 * self.before
        self.before = jnp.where(inside, difference, self.before)
        as_uncond = fixed(Prediction(cond.x0 - difference, cond.eps))
        guided = apg(fixed(cond), as_uncond, SCHEDULE, 3.0, parallel=0.2, norm_threshold=2.0)(x, t)
        guided = jax.tree.map(lambda a, b: jnp.where(inside, a, b), guided, cond)
        rescaled = guidance.rescale(fixed(guided), fixed(cond), SCHEDULE, 0.3)(x, t)
        return guidance.dynamic_threshold(fixed(rescaled), SCHEDULE, 0.9, 1.5)(x, t)


SOLVERS = {"2m": solvers.DPMSolverPP2M(), "corrected": solvers.PredictorCorrector()}


def rows_of(solver):
    plan = solver.plan(SCHEDULE, TS)
    return [jax.tree.map(lambda leaf, k=k: leaf[k], plan) for k in range(len(TS) - 1)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOLVERS)
def test_sample_carries_the_state_like_an_explicit_loop(name):
    solver = SOLVERS[name]

    @jax.jit
    def explicit_loop(x):
        reference, state, states = Reference(), solver.init(x), []
        for key, row in zip(jax.random.split(KEY, 3), rows_of(solver), strict=True):
            x, state = solver.step(state, x, row, reference, key=key if solver.stochastic else None)
            states.append(x)
        return jnp.stack(states)

    sample = lambda x: samplers.trajectory(WRAPPED, SCHEDULE, solver, x, TS, key=KEY)
    end, states = jax.jit(sample)(X)
    np.testing.assert_allclose(states, explicit_loop(X), rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(states[-1], end)


@pytest.mark.slow
def test_momentum_state_has_the_size_of_x():
    assert [leaf.shape for leaf in jax.tree.leaves(init_denoiser_state(WRAPPED, X))] == [(5, 2)]
    half = X.astype(jnp.bfloat16)
    assert [leaf.dtype for leaf in jax.tree.leaves(init_denoiser_state(WRAPPED, half))] == [jnp.bfloat16]
    without = apg(COND, UNCOND, SCHEDULE, 3.0, parallel=0.2, norm_threshold=2.0)
    ends = [jax.jit(samplers.sample)(d, SCHEDULE, solvers.Euler(), X, TS) for d in (APG, without)]
    assert np.abs(ends[0] - ends[1]).max() > 0.01


def test_stateless_denoisers_compile_to_the_same_program():
    """The program of ``sample`` is that of a scan without denoiser state."""
    rule, solver = guidance.classifier_free(COND, UNCOND, 2.0), solvers.Heun()

    def plain(denoiser, x, ts):
        ts, once = solvers.grids.check_grid(ts), jax.jit(lambda x, t: denoiser(x, t))

        def body(carry, row):
            return solver.step(carry[1], carry[0], row, once), None

        return jax.lax.scan(body, (x, solver.init(x)), solver.plan(SCHEDULE, ts))[0][0]

    library = lambda denoiser, x, ts: samplers.sample(denoiser, SCHEDULE, solver, x, ts)
    for denoiser in (rule, COND):
        programs = [str(jax.make_jaxpr(f)(denoiser, X, TS)) for f in (plain, library)]
        assert programs[0] == programs[1]
    assert str(jax.make_jaxpr(library)(APG, X, TS)) != str(jax.make_jaxpr(library)(rule, X, TS))


@pytree_dataclass
class Averaged(StatefulDenoiser):
    """The mean of all the conditional predictions so far, as user code might write it."""

    denoiser: object

    def init(self, x):
        return {"sum": jnp.zeros_like(x), "count": jnp.zeros(x.shape[0])}

    def predict(self, state, x_t, t):
        x0, eps = self.denoiser(x_t, t)
        state = {"sum": state["sum"] + x0, "count": state["count"] + 1.0}
        return Prediction(state["sum"] / state["count"][:, None], eps), state


def test_rules_carry_the_state_of_custom_denoisers():
    mine = Averaged(denoiser=COND)

    def last(denoiser):
        state = init_denoiser_state(denoiser, X)
        for t in (0.8, 0.6, 0.4):
            prediction, state = guidance.predict(denoiser, state, X, jnp.float32(t))
        return prediction

    def fixed(x, t):
        return Prediction(jnp.mean(jnp.stack([COND(X, u).x0 for u in (0.8, 0.6, 0.4)]), axis=0), COND(x, t).eps)

    rules = {
        "classifier_free": lambda d: guidance.classifier_free(d, UNCOND, 3.0),
        "compose": lambda d: guidance.compose(UNCOND, [COND, d], [1.0, 0.5]),
        "cfg_plus_plus": lambda d: guidance.cfg_plus_plus(COND, d, 0.5),
        "interval": lambda d: guidance.interval(d, COND, SCHEDULE),
        "static": lambda d: guidance.static_threshold(d, SCHEDULE),
        "classifier": lambda d: guidance.classifier_guidance(d, lambda x, t: x[:, 0], SCHEDULE, 1.0),
        "temperature": lambda d: guidance.temperature(d, SCHEDULE, 2.0),
        "tangential": lambda d: guidance.tangential(d, UNCOND, SCHEDULE, 2.0),
    }

    @jax.jit
    def both():
        return [(last(rule(mine)), rule(fixed)(X, jnp.float32(0.4))) for rule in (lambda d: d, *rules.values())]

    for carried, expected in both():
        same(carried, expected, rtol=1e-4, atol=1e-4)


CONSUMERS = {
    "a plain call": lambda d: d(X, 0.5),
    "log_likelihood": lambda d: likelihood.log_likelihood(d, SCHEDULE, X),
    "adaptive_ode": lambda d: samplers.adaptive_ode(d, SCHEDULE, X),
    "invert": lambda d: samplers.invert(d, SCHEDULE, solvers.Heun(), X, TS),
    "log_probs": lambda d: samplers.sample_with_log_probs(KEY, d, SCHEDULE, solvers.Ancestral(), X, TS),
    "bound": lambda d: likelihood.variational_bound(KEY, d, SCHEDULE, X),
}


test_consumers_without_state_raise_for_stateful_denoisers = raising(
    [
        ("denoiser must be stateless here, .* set momentum=None, or carry it", lambda run=run, d=d: run(d))
        for run in CONSUMERS.values()
        for d in (APG, WRAPPED)
    ]
)
