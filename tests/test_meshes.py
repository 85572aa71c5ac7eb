"""Public functions give the same values on one device, on Auto and Explicit meshes, and in ``shard_map``.

The functions and their arguments are those of :mod:`valid_calls` and :mod:`mesh_calls`, whose batches are of two
examples: two devices have one each on a mesh, and two each in ``shard_map``. The other devices have copies.
"""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from mesh_calls import CALLS
from valid_calls import rows
from valid_calls.kinds import Argument

from scorekit import denoisers, densities, guidance, likelihood, samplers, schedules, solvers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices"),
]
explicit = pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="some reshapes of split arrays need jax 0.12")
ROWS = PartitionSpec("data")
PACKAGES = (
    *("schedules", "weightings", "times", "predictions", "process", "denoisers", "losses", "guidance", "solvers"),
    *("samplers", "likelihood", "flow_maps", "discrete", "autoregressive", "forcing", "interpolants", "typicality"),
    *("densities", "bridges", "alignment"),
)
NO_BATCH = {
    *("ts", "kernel", "covariances", "prior_covariance", "count", "observation", "observations", "levels", "states"),
    *("log_prob", "step_sizes", "factor", "power", "covariance", "basis", "path"),
}
"""Arguments whose first axis is none of examples."""
EXCEPT = {
    *("losses.contrastive.slerp", "losses.contrastive.text_difference"),  # jnp.sinc raises in shard_map in jax 0.12
}


BATCHES = {
    "x": np.random.default_rng(1).normal(size=(2, 3)).astype(np.float32),
    "t": np.array([0.5, 0.75], np.float32),
    "labels": np.array([0, 2], np.int32),
}


def mesh(kind=AxisType.Auto):
    return jax.make_mesh((2, len(jax.devices()) // 2), ("data", "copies"), axis_types=(kind, kind))


def is_batch(x):
    array = isinstance(x, np.ndarray | jax.Array) and not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return array and x.shape[:1] == (2,)


@functools.cache
def calls(package):
    """``(batches, function of them)`` of every row with a batch."""
    found = {}
    for name, row in rows(every=True).items():
        given = {k: v.value if isinstance(v, Argument) else v for k, v in row.arguments.items()}
        given = {k: v for k, v in given.items() if isinstance(v, np.ndarray | jax.Array | tuple | dict)}
        leaves, tree = jax.tree.flatten({k: v for k, v in given.items() if k not in NO_BATCH})
        batches = {i: np.asarray(leaf) for i, leaf in enumerate(leaves) if is_batch(leaf)}
        if name.split(".")[0] != package or name in EXCEPT or not batches:
            continue

        def run(batches, row=row, leaves=leaves, tree=tree):
            values = jax.tree.unflatten(tree, [batches.get(i, leaf) for i, leaf in enumerate(leaves)])
            of = lambda k, v: row.arguments[k].of(v) if isinstance(row.arguments[k], Argument) else v
            return [x for x in jax.tree.leaves(row(**{k: of(k, v) for k, v in values.items()})) if hasattr(x, "dtype")]

        found[name] = batches, run
    own = {name: function for name, function in CALLS.items() if name.split(".")[0] == package}
    for name, function in own.items():
        batches = {name: BATCHES[name] for name in inspect.signature(function).parameters}
        found[name] = batches, lambda batches, function=function: jax.tree.leaves(function(**batches))
    return found


def run_all(calls, change=lambda x: x):
    """One program of all calls; the results, or the error, of each."""
    errors = {}

    def program(batches):
        results = {}
        for name, (_, run) in calls.items():
            try:
                results[name] = [change(leaf) for leaf in run(batches[name])]
            except Exception as error:
                errors[name] = str(error)[:300]
        return results

    return program, {name: batches for name, (batches, _) in calls.items()}, errors


@functools.cache
def on_one_device(package):
    program, batches, errors = run_all(calls(package))
    return jax.jit(program)(batches), errors


def assert_equal(found, expected):
    for name, leaves in expected.items():
        for a, b in zip(found[name], leaves, strict=True):
            if not jnp.issubdtype(b.dtype, jax.dtypes.prng_key):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", [AxisType.Auto, pytest.param(AxisType.Explicit, marks=explicit)], ids=str)
@pytest.mark.parametrize("package", PACKAGES)
def test_split_batches_on_a_mesh(package, kind):
    expected, not_traced = on_one_device(package)
    program, batches, errors = run_all({k: v for k, v in calls(package).items() if k not in not_traced})
    with jax.set_mesh(mesh(kind)):
        found = jax.jit(program)(jax.device_put(batches, NamedSharding(mesh(kind), ROWS)))
    assert not errors, "\n".join(f"{name}: {error}" for name, error in errors.items())
    assert_equal(found, expected)


@pytest.mark.parametrize("package", PACKAGES)
def test_shard_map_with_its_checks(package):
    """Every device has the examples of the table."""
    expected, not_traced = on_one_device(package)
    traced = {k: v for k, v in calls(package).items() if k not in not_traced}
    program, batches, errors = run_all(traced, lambda x: x[None])
    twice = jax.tree.map(lambda x: np.concatenate([x, x]), batches)
    found = jax.jit(jax.shard_map(program, mesh=mesh(), in_specs=ROWS, out_specs=ROWS))(twice)
    assert not errors, "\n".join(f"{name}: {error}" for name, error in errors.items())
    assert_equal({k: [x[1] for x in leaves] for k, leaves in found.items()}, expected)


SCHEDULE, X = schedules.Cosine(), np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
MEAN = np.array([0.3, -0.2, 0.1], np.float32)


def model(mean):
    return denoisers.exact_denoiser(densities.gaussian(mean, std=0.5), SCHEDULE)


@pytest.mark.parametrize("in_interval", [False, True])
def test_devices_with_their_own_guidance_scale_and_one_start(in_interval):
    def draw(scale, x):
        denoiser = guidance.classifier_free(model(MEAN), model(-MEAN), scale[0])
        if in_interval:
            denoiser = guidance.interval(denoiser, model(MEAN), SCHEDULE, 0.5, 2.0)
        return samplers.sample(denoiser, SCHEDULE, solvers.DPMSolverPP2M(), x, solvers.grids.uniform(4))[None]

    scales, specs = np.array([1.5, 3.0], np.float32), (ROWS, PartitionSpec())
    found = jax.jit(jax.shard_map(draw, mesh=mesh(), in_specs=specs, out_specs=ROWS))(scales, X)
    alone = jax.jit(draw)
    np.testing.assert_allclose(found, np.concatenate([alone(scale[None], X) for scale in scales]), atol=1e-5)


@pytest.mark.parametrize("name", ["adaptive_ode", "log_likelihood"])
def test_adaptive_steps_in_shard_map_are_those_of_each_device(name):
    """Also where devices take different numbers of steps, and the model is the same on all of them."""

    def solve(mean, x):
        if name == "adaptive_ode":
            solved = samplers.adaptive_ode(model(mean), SCHEDULE, x, save_at=np.array([0.7, 0.2]))
            return jnp.swapaxes(solved.saved, 0, 1), solved.x, solved.nfe[None]
        found = likelihood.log_likelihood(model(mean), SCHEDULE, x, t_min=0.01, chunk=1)
        return found.log_p, found.x_1, found.nfe[None]

    x = X * np.repeat([1.0, 9.0], 4)[:, None].astype(np.float32)
    mapped = jax.shard_map(solve, mesh=mesh(), in_specs=(PartitionSpec(), ROWS), out_specs=ROWS)
    found = jax.jit(mapped)(MEAN, x)
    assert found[2][0] != found[2][1] or name == "log_likelihood"
    parts = zip(*(jax.jit(solve)(MEAN, block) for block in np.split(x, 2)), strict=True)
    for ours, alone in zip(found, map(np.concatenate, parts), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-4)


def test_gradients_of_log_likelihood_in_shard_map_are_sums_over_devices():
    def total(mean, x):
        return jnp.sum(likelihood.log_likelihood(model(mean), SCHEDULE, x, ts=solvers.grids.uniform(8), chunk=1).log_p)

    gradient, specs = jax.grad(total, argnums=(0, 1)), (PartitionSpec(), ROWS)
    of_mean, of_x = jax.jit(jax.shard_map(gradient, mesh=mesh(), in_specs=specs, out_specs=specs))(MEAN, X)
    parts = [jax.jit(gradient)(MEAN, block) for block in np.split(X, 2)]
    np.testing.assert_allclose(of_mean, parts[0][0] + parts[1][0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_x, np.concatenate([parts[0][1], parts[1][1]]), rtol=1e-4, atol=1e-4)
