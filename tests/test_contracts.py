"""Every solver under every guidance rule keeps the contracts: transformations, trace counts, dtypes, pytrees.

Each case is one function ``run(numbers, key, x)`` of hyper-parameters, a key and a block of examples. The jitted
function on single blocks is the reference for everything that runs many blocks or many hyper-parameters at once.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial

from scorekit import guidance, schedules, solvers
from scorekit.denoisers import denoiser_from_network
from scorekit.solvers import sample

BLOCKS, BLOCK, DIM = 4, 2, 3
SOLVERS = {
    "euler": lambda eta: solvers.Euler(),
    "heun": lambda eta: solvers.Heun(),
    "heun_sigma": lambda eta: solvers.Heun(coordinate="sigma"),
    "dpmpp_2m": lambda eta: solvers.DPMSolverPP2M(),
    "ancestral": lambda eta: solvers.Ancestral(eta=eta),
    "euler_maruyama": lambda eta: solvers.EulerMaruyama(),
}
STOCHASTIC = {"ancestral", "euler_maruyama"}
# A schedule and the leaf of it that varies.
SCHEDULES = {
    "linear_vp": lambda number: schedules.linear_vp(beta_max=number),
    "edm": lambda number: schedules.edm(0.01, number),
    "rectified_flow": lambda number: schedules.shifted(schedules.rectified_flow(), number),
    "cosine": lambda number: schedules.cosine(0.001 * number),
}
GUIDANCE = ("none", "classifier_free", "classifier_free_batched", "interval", "static_threshold", "dynamic_threshold")
PAIRS = [(solver, rule) for solver in SOLVERS for rule in GUIDANCE]
NUMBERS = {"gamma": 2.5, "eta": 0.6, "schedule": 9.0, "limit": 0.8}
OTHERS = {"gamma": 0.5, "eta": 0.3, "schedule": 5.0, "limit": 1.1}

traces = []


def network(params, condition, x, t):
    """A small network with the condition on each row, which counts how often it is traced."""
    traces.append(t)
    return jnp.tanh(x @ params + jnp.cos(3.0 * t) + condition)


PARAMS = 0.5 * jax.random.normal(jax.random.key(7), (DIM, DIM))


def guided(rule, schedule, numbers, n):
    """The denoiser of a rule for ``n`` examples."""

    def conditional(condition, x, t):
        bound = Partial(network, PARAMS, condition[:, None])
        return denoiser_from_network(bound, schedule, "v")(x, t)

    ones, zeros = jnp.ones(n), jnp.zeros(n)
    cond, uncond = Partial(conditional, ones), Partial(conditional, zeros)
    if rule == "classifier_free":
        return guidance.classifier_free(cond, uncond, numbers["gamma"])
    if rule == "classifier_free_batched":
        by_condition = lambda x, t, condition: conditional(condition, x, t)
        return guidance.classifier_free_batched(by_condition, ones, 0.0, numbers["gamma"])
    if rule == "interval":
        both = guidance.classifier_free(cond, uncond, numbers["gamma"])
        return guidance.interval(both, cond, schedule, 0.4, 2.0)
    if rule == "static_threshold":
        return guidance.static_threshold(cond, schedule, numbers["limit"])
    if rule == "dynamic_threshold":
        return guidance.dynamic_threshold(cond, schedule, 0.7, numbers["limit"])
    return cond


CALLS = {"classifier_free": 2, "interval": 3}  # network calls in one evaluation of a rule; 1 otherwise


def schedule_of(solver, rule):
    """A schedule for each pair, so that each solver and each rule meet several."""
    names = list(SCHEDULES)
    return names[(list(SOLVERS).index(solver) + list(GUIDANCE).index(rule)) % len(names)]


TS = np.array([0.97, 0.7, 0.4, 0.0], np.float32)


def make_run(solver, rule):
    def run(numbers, key, x, ts=TS):
        schedule = SCHEDULES[schedule_of(solver, rule)](numbers["schedule"])
        denoiser = guided(rule, schedule, numbers, x.shape[0])
        return sample(key, denoiser, schedule, SOLVERS[solver](numbers["eta"]), x, ts)

    return run


def run_all(solver, numbers, key, x, ts=TS):
    """One solver under every rule, so that one compilation serves them all."""
    return {rule: make_run(solver, rule)(numbers, key, x, ts) for rule in GUIDANCE}


@functools.cache
def compiled(solver):
    return jax.jit(functools.partial(run_all, solver))


KEYS = jax.random.split(jax.random.key(1), BLOCKS)
X = jax.random.normal(jax.random.key(2), (BLOCKS, BLOCK, DIM))


@functools.cache
def reference(solver):
    """Each block on its own."""
    parts = [compiled(solver)(NUMBERS, KEYS[i], X[i]) for i in range(BLOCKS)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def assert_same(a, b, atol=2e-5):
    for rule in GUIDANCE:
        np.testing.assert_allclose(a[rule], b[rule], rtol=2e-5, atol=atol, err_msg=rule)


each_solver = pytest.mark.parametrize("solver", SOLVERS)


@each_solver
def test_rules_change_the_result(solver):
    out = reference(solver)
    for i, a in enumerate(GUIDANCE):
        assert np.isfinite(out[a]).all()
        assert out[a].shape == X.shape
        for b in GUIDANCE[:i]:
            same = {a, b} == {"classifier_free", "classifier_free_batched"} and schedule_of(solver, a) == schedule_of(
                solver, b
            )
            assert same or np.abs(out[a] - out[b]).max() > 1e-4, (a, b)


@each_solver
def test_eager_equals_jit(solver):
    for rule in ("none", "interval"):
        out = make_run(solver, rule)(NUMBERS, KEYS[0], X[0])
        np.testing.assert_allclose(out, reference(solver)[rule][0], rtol=2e-5, atol=2e-5)


@each_solver
def test_vmap_over_data(solver):
    run = functools.partial(run_all, solver, NUMBERS)
    assert_same(jax.jit(jax.vmap(run))(KEYS, X), reference(solver))


@each_solver
def test_vmap_over_hyperparameters(solver):
    both = jax.tree.map(lambda a, b: jnp.array([a, b]), NUMBERS, OTHERS)
    out = jax.jit(jax.vmap(functools.partial(run_all, solver), (0, None, None)))(both, KEYS[0], X[0])
    one = jax.tree.map(lambda leaf: leaf[0], reference(solver))
    two = compiled(solver)(OTHERS, KEYS[0], X[0])
    assert_same(out, jax.tree.map(lambda a, b: np.stack([a, b]), one, two))


@each_solver
def test_pmap(solver):
    run = functools.partial(run_all, solver, NUMBERS)
    assert_same(jax.pmap(run)(KEYS, X), reference(solver))


@functools.cache
def mesh():
    return Mesh(np.array(jax.devices()[:BLOCKS]), ("data",))


@each_solver
def test_shard_map(solver):
    def local(keys, x):
        out = run_all(solver, NUMBERS, keys[0], x[0])
        return jax.tree.map(lambda leaf: leaf[None], out)

    spec = PartitionSpec("data")
    run = jax.jit(jax.shard_map(local, mesh=mesh(), in_specs=(spec, spec), out_specs=spec))
    assert_same(run(KEYS, X), reference(solver))


@each_solver
def test_jit_over_a_mesh(solver):
    everything = X.reshape(-1, DIM)
    sharding = NamedSharding(mesh(), PartitionSpec("data"))
    out = compiled(solver)(NUMBERS, KEYS[0], jax.device_put(everything, sharding))
    assert len(out["none"].sharding.device_set) == BLOCKS
    if solver in STOCHASTIC:  # its noise belongs to the whole batch
        assert_same(out, compiled(solver)(NUMBERS, KEYS[0], everything))
    else:
        blocks = jax.tree.map(lambda leaf: np.reshape(leaf, X.shape), out)
        assert_same(blocks, reference(solver))


@each_solver
def test_results_do_not_depend_on_batch_mates(solver):
    changed = X[0].at[1].set(50.0)
    out = compiled(solver)(NUMBERS, KEYS[0], changed)
    for rule in GUIDANCE:
        np.testing.assert_array_equal(out[rule][0], reference(solver)[rule][0, 0])
        assert np.abs(out[rule][1] - reference(solver)[rule][0, 1]).max() > 1e-3


@each_solver
def test_gradients_by_every_number_and_by_the_start(solver):
    """Finite, and equal to the slope along one direction through all arguments."""

    def loss(step, arguments):
        numbers, x = jax.tree.map(lambda a, d: a + step * d, arguments, direction)
        out = run_all(solver, numbers, KEYS[0], x)
        return jnp.stack([jnp.mean(out[rule] * weights) for rule in GUIDANCE])

    with jax.enable_x64(True):
        weights = jnp.linspace(0.5, 1.5, BLOCK * DIM).reshape(BLOCK, DIM)
        arguments = ({name: jnp.float64(value) for name, value in NUMBERS.items()}, jnp.asarray(X[0], float))
        direction = ({name: jnp.float64(0.3) for name in NUMBERS}, jnp.ones((BLOCK, DIM)))

        @jax.jit
        def slopes(arguments):
            grads = jax.jacrev(lambda a: loss(0.0, a))(arguments)
            along = jax.tree.map(lambda g, d: jnp.sum((g * d).reshape(len(GUIDANCE), -1), 1), grads, direction)
            values = jax.lax.map(lambda step: loss(step, arguments), jnp.array([1e-5, -1e-5]))
            return grads, sum(jax.tree.leaves(along)), (values[0] - values[1]) / 2e-5

        grads, along, difference = slopes(arguments)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
        assert np.abs(np.asarray(along)).min() > 1e-4
        np.testing.assert_allclose(along, difference, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("solver", "rule"), PAIRS)
def test_the_network_is_traced_once_and_never_again(solver, rule):
    fresh = jax.jit(make_run(solver, rule))
    traces.clear()
    for numbers, ts in ((NUMBERS, TS), (OTHERS, TS), (NUMBERS, np.float32([0.9, 0.5, 0.2, 0.1]))):
        jax.make_jaxpr(make_run(solver, rule))(numbers, KEYS[0], X[0], ts)
    assert len(traces) == 3 * CALLS.get(rule, 1)
    assert all(t.ndim == 0 and t.dtype == jnp.float32 for t in traces)
    del fresh


@each_solver
def test_new_values_do_not_recompile(solver):
    reference(solver)
    traces.clear()
    run = compiled(solver)
    before = run(NUMBERS, KEYS[0], X[0], TS)
    first = len(traces)
    after = run(OTHERS, KEYS[1], X[1], np.float32([0.9, 0.5, 0.2, 0.1]))
    assert len(traces) == first
    assert np.abs(before["none"] - after["none"]).max() > 1e-3
