"""Every solver under every guidance rule keeps the contracts: transformations, trace counts, dtypes, pytrees.

A case is a function ``run(numbers, key, x)`` of hyper-parameters, a key and a block of examples. The jitted function
on single blocks is the reference for everything that runs many blocks or many hyper-parameters at once.
"""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import Partial
from rule_table import build, log_likelihood, nests, takes
from solver_table import NAMES, has_parameter
from solver_table import build as build_solver

from scorekit import guidance, schedules
from scorekit.denoisers import denoiser_from_network
from scorekit.samplers import sample

BLOCKS, BLOCK, DIM = 4, 2, 3
# Solvers of the table that are not run here, since another one runs the same code; tests/solvers/test_base.py has all.
SAME_STEP_AS = {
    "linear_multistep": "AdamsBashforth",
    "ExponentialAdamsBashforth": "AdamsBashforth",
    "deis": "AdamsBashforth",
    "IPNDM": "AdamsBashforth",
    "DPMSolverPP3M": "DPMSolverPP2M",
    "RK4": "Heun",
    "Midpoint": "Heun",
    "DPMSolver": "Heun",
    "ddim": "Euler",
    "ReverseDiffusion": "Ancestral",
    "MultistepConsistency": "Ancestral",
    "DPMSolverPP2MSDE": "SASolver",
    "DPMSolverPP3MSDE": "SASolver",
    "StochasticHeun": "Heun",
    "edm_stochastic": "Heun",
    "AnnealedLangevin": "PredictorCorrector",
    "PrecomputedSolver": "its base; belongs to one grid and schedule",
    "precomputed": "its base; belongs to one grid and schedule",
    "DPS": "its base; reads the gradient of the denoiser (tests/guidance/test_inverse.py)",
}
SLOW = ("UniPC", "SASolver")  # like others, with more to compile
FIRST = ["Euler", "Heun", "DPMSolverPP2M", "AdamsBashforth", "Ancestral", "PredictorCorrector", "EulerMaruyama"]
FIRST += SLOW  # the order gives each its schedule and its chain of rules


def made(name, eta):
    if name == "PredictorCorrector":
        return build_solver(name, snr=0.2 * eta)
    return build_solver(name, **({"eta": eta} if has_parameter(name, "eta") else {}))


CHOSEN = FIRST + [name for name in NAMES if name not in SAME_STEP_AS and name not in FIRST]
SOLVERS = {name: functools.partial(made, name) for name in CHOSEN}
WITH_ETA = [n for n in NAMES if n in CHOSEN and (has_parameter(n, "eta") or n == "PredictorCorrector")]
STOCHASTIC = [name for name in CHOSEN if made(name, 0.5).stochastic]
# Schedules as functions of one of their leaves.
SCHEDULES = {
    "linear_vp": lambda number: schedules.LinearVP(beta_max=number),
    "edm": lambda number: schedules.EDM(sigma_min=0.01, sigma_max=number),
    "shifted_flow": lambda number: schedules.shifted(schedules.RectifiedFlow(), number),
    "cosine": lambda number: schedules.Cosine(s=0.001 * number),
}
# Every rule is in one of these chains: the cost of the tables is in their compilation. A solver runs under one of them,
# and there are no more chains than solvers that are not slow, so that each rule is run.
CHAINS = nests(5)
RULES = {"none": (), **CHAINS}
NUMBERS = {"gamma": 2.5, "eta": 0.6, "schedule": 9.0, "limit": 0.8, "share": 0.7}
OTHERS = {"gamma": 0.5, "eta": 0.3, "schedule": 5.0, "limit": 1.1, "share": 0.4}
TS = np.array([0.97, 0.7, 0.4, 0.0], np.float32)

traces = []


def network(params, condition, x, t):
    """A small network, conditioned row by row, that counts how often it is traced."""
    traces.append(t)
    bias = (jnp.cos(3.0 * t) + condition)[..., None].astype(x.dtype)
    return jnp.tanh(x[..., 0] @ jnp.asarray(params, x.dtype) + bias)[..., None]


PARAMS = 0.5 * np.random.default_rng(7).normal(size=(DIM, DIM)).astype(np.float32)


def hyper_parameters(numbers):
    """Values for the hyper-parameters of rules, by name; those that are not listed have their defaults."""
    limit, share = numbers["limit"], numbers["share"]
    return {
        "factor": share, "factors": (1.0, share), "limit": 2.5 * limit, "momentum": 0.5 * share,
        "negative_scale": share, "noise_max": 10.0 + share, "noise_min": 0.5 * share, "norm_threshold": 2.0 * limit,
        "parallel": share, "percentile": 0.7, "tau": 1.0 + 0.1 * limit, "zero_above": 20.0 * share,
    }  # fmt: skip


def guided(nest, schedule, numbers, n):
    """The denoiser of a chain of ``RULES`` for ``n`` examples, each rule around the one before."""
    gamma, share = numbers["gamma"], numbers["share"]

    def conditional(x, t, condition):
        return denoiser_from_network(Partial(network, PARAMS, condition), schedule, "v")(x, t)

    cond, uncond, other = guidance.branches(conditional, jnp.ones(n), 0.0, 0.5)
    scale = guidance.weight_schedule(share, gamma, "power", power=numbers["limit"] + share)
    parts = {"uncond": uncond, "weak": other, "unwanted": other, "unguided": cond, "schedule": schedule}
    parts |= {"guidance_scale": scale, "log_likelihood": log_likelihood}
    special = {"cfg_plus_plus": {"guidance_scale": share}, "classifier_guidance": {"guidance_scale": 0.1 * gamma}}
    denoiser = cond
    for name in RULES[nest]:
        inner = {"cond": denoiser, "denoiser": denoiser}
        if name == "classifier_guidance":  # of one branch
            inner = {"uncond": denoiser}
        hyper = {key: value for key, value in hyper_parameters(numbers).items() if takes(name, key)}
        denoiser = build(name, {**parts, **inner}, **hyper, **special.get(name, {}))
    return denoiser


def calls(nest):
    """Network calls in one evaluation: the branches of ``interval`` are separate programs."""
    return 2 if "interval" in RULES[nest] else 1


def run(solver, rule, numbers, key, x, ts):
    """One sample call; the schedule goes round, so that each solver and each rule meet several."""
    names = list(SCHEDULES)
    turn = list(SOLVERS).index(solver) + list(RULES).index(rule)
    schedule = SCHEDULES[names[turn % len(names)]](numbers["schedule"])
    denoiser = guided(rule, schedule, numbers, x.shape[0])
    return sample(denoiser, schedule, SOLVERS[solver](numbers["eta"]), x, ts, key=key)


def run_nested(solver, numbers, key, x, ts):
    """One solver under one of the chains, in turn."""
    return run(solver, list(CHAINS)[list(SOLVERS).index(solver) % len(CHAINS)], numbers, key, x, ts)


KEYS = jax.random.split(jax.random.key(1), BLOCKS)
X = np.random.default_rng(2).normal(size=(BLOCKS, BLOCK, DIM, 1)).astype(np.float32)


@functools.cache
def compiled(solver):
    return jax.jit(functools.partial(run_nested, solver))


@functools.cache
def reference(solver):
    """Each block on its own."""
    return np.stack([compiled(solver)(NUMBERS, KEYS[i], X[i], TS) for i in range(BLOCKS)])


assert_same = functools.partial(chex.assert_trees_all_close, rtol=2e-5, atol=2e-5)


CASES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SOLVERS]
each_solver = pytest.mark.parametrize("solver", CASES)


@pytest.mark.slow
@each_solver
def test_vmap_over_data_and_over_hyperparameters(solver):
    both = jax.tree.map(lambda a, b: np.float32([a, b]), NUMBERS, OTHERS)
    over_data = jax.vmap(functools.partial(run_nested, solver), (None, 0, 0, None))
    out = jax.jit(jax.vmap(over_data, (0, None, None, None)))(both, KEYS, X, TS)
    other = compiled(solver)(OTHERS, KEYS[0], X[0], TS)
    assert_same(out[0], reference(solver))
    assert_same(out[1][0], other)


OVER_DEVICES = ["DPMSolverPP2M", "PredictorCorrector"]
"""No solver knows of devices: one has a history, one draws noise and takes the norm of an example."""
few_solvers = pytest.mark.parametrize("solver", OVER_DEVICES)


@few_solvers
def test_pmap(solver):
    out = jax.pmap(lambda key, x: run_nested(solver, NUMBERS, key, x, TS))(KEYS, X)
    assert_same(out, reference(solver))


def over_devices():
    return Mesh(np.array(jax.devices()[:BLOCKS]), ("data",))


@few_solvers
def test_shard_map(solver):
    data = PartitionSpec("data")
    local = lambda keys, x: run_nested(solver, NUMBERS, keys[0], x[0], TS)[None]
    out = jax.jit(jax.shard_map(local, mesh=over_devices(), in_specs=(data, data), out_specs=data))(KEYS, X)
    assert_same(out, reference(solver))


@pytest.mark.slow
@few_solvers
def test_jit_over_a_mesh(solver):
    everything = X.reshape(-1, DIM, 1)
    split = jax.device_put(everything, NamedSharding(over_devices(), PartitionSpec("data")))
    out = compiled(solver)(NUMBERS, KEYS[0], split, TS)
    assert len(out.sharding.device_set) == BLOCKS
    if solver in STOCHASTIC:  # the noise belongs to the whole batch
        assert_same(out, compiled(solver)(NUMBERS, KEYS[0], everything, TS))
    else:
        assert_same(out.reshape(X.shape), reference(solver))


@pytest.mark.slow
def test_eager_equals_jit():
    plain = functools.partial(run, "Ancestral", "none")
    assert_same(plain(NUMBERS, KEYS[0], X[0], TS), jax.jit(plain)(NUMBERS, KEYS[0], X[0], TS))


@each_solver
def test_results_do_not_depend_on_batch_mates(solver):
    expected = reference(solver)[0]
    out = np.asarray(compiled(solver)(NUMBERS, KEYS[0], np.stack([X[0, 0], np.full_like(X[0, 1], 50.0)]), TS))
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out[0], expected[0])
    assert np.abs(out[1] - expected[1]).max() > 1e-3


@pytest.mark.slow
@each_solver
def test_gradients_reach_every_number_and_the_start(solver):
    """Finite, not zero, and the slope of the function along a direction through all arguments."""
    weights = np.linspace(0.5, 1.5, BLOCK * DIM, dtype=np.float32).reshape(BLOCK, DIM, 1)
    loss = lambda numbers, x: jnp.sum(weights * run_nested(solver, numbers, KEYS[0], x, TS))
    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(NUMBERS, X[0])
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        unused = "eta" in jax.tree_util.keystr(path) and solver not in WITH_ETA
        assert np.isfinite(leaf).all(), path
        assert np.any(np.asarray(leaf) != 0) != unused, path
    step = 2e-3
    shifted = [jax.tree.map(lambda a: a + sign * step, (NUMBERS, X[0])) for sign in (1, -1)]  # noqa: B023
    up, down = (np.sum(weights * np.asarray(compiled(solver)(n, KEYS[0], x, TS))) for n, x in shifted)
    total = sum(np.sum(leaf) for leaf in jax.tree.leaves(grads))
    np.testing.assert_allclose(total, (up - down) / (2 * step), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("solver", "rule"), [*(("Heun", rule) for rule in RULES), *((solver, "none") for solver in SOLVERS)]
)
def test_the_network_is_traced_once_per_call(solver, rule):
    """However many steps and evaluations there are, it appears once, with a scalar float32 time."""
    traces.clear()
    jax.make_jaxpr(functools.partial(run, solver, rule))(NUMBERS, KEYS[0], X[0], TS)
    assert len(traces) == calls(rule)
    assert all(t.shape == () and t.dtype == jnp.float32 for t in traces)


@each_solver
def test_new_values_do_not_recompile(solver):
    before = reference(solver)
    function = compiled(solver)
    traces.clear()
    after = function(OTHERS, KEYS[1], X[1], np.float32([0.9, 0.5, 0.2, 0.1]))
    assert not traces
    assert np.abs(before[1] - after).max() > 1e-3


def roundings(jaxpr):
    """The single numbers and rows (times, coefficients, norms) that a program or its parts turn into bfloat16.

    Weakly typed numbers are literals: they follow the state.
    """
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "convert_element_type" and eqn.params["new_dtype"] == jnp.bfloat16:
            aval = eqn.invars[0].aval
            if not aval.weak_type and (len(aval.shape) <= 1 or aval.size == 1):
                yield str(aval)
        for part in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda p: hasattr(p, "eqns")):
            inner = getattr(part, "jaxpr", part)
            if hasattr(inner, "eqns"):
                yield from roundings(inner)


@each_solver
def test_a_bfloat16_state_keeps_its_dtype_and_float32_coefficients(solver):
    case = functools.partial(run_nested, solver)
    numbers = jax.tree.map(jnp.float32, NUMBERS)
    program, out = jax.make_jaxpr(case, return_shape=True)(numbers, KEYS[0], X[0].astype(jnp.bfloat16), TS)
    assert out.dtype == jnp.bfloat16
    assert "bf16[2,3,1] = convert_element_type" in str(program)
    assert list(roundings(program.jaxpr)) == []


@pytest.mark.slow
def test_a_bfloat16_state_is_sampled_to_its_precision():
    """Under every rule; with the plainest solver, because extrapolation multiplies the rounding of some rules."""
    run_each = jax.jit(lambda x: {rule: run("Euler", rule, NUMBERS, KEYS[0], x, TS) for rule in RULES})
    x = X[0].astype(jnp.bfloat16)
    out, wide = run_each(x), run_each(x.astype(np.float32))
    for rule in RULES:
        np.testing.assert_allclose(np.float32(out[rule]), wide[rule], rtol=0.05, atol=0.05, err_msg=rule)


@pytest.mark.parametrize("solver", [case for case in CASES if case != "PredictorCorrector"])
def test_a_tree_of_arrays_is_its_arrays(solver):
    """Each leaf is stepped as it would be alone, with its own key (a corrector takes the norm of the whole example)."""
    schedule = schedules.Cosine()
    gain = {"a": 0.5, "b": -1.0}
    network = lambda gain: denoiser_from_network(
        lambda x, t: jax.tree.map(lambda g, leaf: jnp.tanh(g * leaf + t), gain, x), schedule, "x0"
    )

    def rule(gain):
        bounded = guidance.static_threshold(network(gain), schedule, 0.9)
        return guidance.dynamic_threshold(guidance.classifier_free(bounded, network(gain), 2.0), schedule, 0.6, 0.7)

    chosen = SOLVERS[solver](0.6)

    @jax.jit
    def both(x):
        def step(both, row_and_key):
            (tree, state), leaves = both
            row, key = row_and_key
            keys = dict(zip(x, jax.random.split(key, 2), strict=True))
            moved = {k: chosen.step(leaves[k][1], leaves[k][0], row, rule(gain[k]), key=keys[k]) for k in x}
            return (chosen.step(state, tree, row, rule(gain), key=key), moved), None

        start = (x, chosen.init(x)), {k: (x[k], chosen.init(x[k])) for k in x}
        (tree, leaves), _ = jax.lax.scan(step, start, (chosen.plan(schedule, TS[1:]), KEYS[:2]))
        return tree[0], {k: leaf for k, (leaf, _) in leaves.items()}

    tree, leaves = both({"a": X[0, ..., 0], "b": np.reshape(X[:2], (BLOCK, 2, DIM))})
    assert_same(tree, leaves)
    shape = {k: leaf.shape for k, leaf in tree.items()}
    assert shape == {"a": (BLOCK, DIM), "b": (BLOCK, 2, DIM)}
