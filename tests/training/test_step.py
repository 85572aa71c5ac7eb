"""The training step against a reference loop, and skipped steps."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from scorekit.training import check_finite, init_state, make_mesh, make_optimizer, make_train_step

SEED = 3
BATCH = {"x": np.random.default_rng(0).normal(size=(48, 3)).astype(np.float32)}
ONE = make_mesh(devices=jax.devices()[:1])
OPTIMIZER = make_optimizer(0.1, warmup_steps=2, total_steps=50, clip_norm=0.5)


def params():
    return {"w": jnp.array([[0.5, -1.0, 2.0], [0.1, 0.2, 0.3]]), "b": jnp.zeros(2)}


def prepare(key, batch):
    return {"x": batch["x"], "noise": jax.random.normal(key, (len(batch["x"]), 2))}


def loss(params, batch):
    error = batch["x"] @ params["w"].T + params["b"] - batch["noise"]
    return jnp.sum(error**2, axis=1), {"error": error}


@pytest.fixture(scope="module")
def step():
    return make_train_step(prepare, loss, OPTIMIZER, mesh=ONE)


def start(decays=(0.9, 0.99)):
    return init_state(jax.random.key(SEED), params(), OPTIMIZER, decays)


def run(step, state, batches):
    metrics = []
    for batch in batches:
        state, m = step(state, batch)
        metrics.append(m)
    return state, metrics


@pytest.fixture(scope="module")
def three_steps(step):
    return run(step, start(), [BATCH] * 3)


@pytest.mark.slow
def test_step_matches_a_reference_loop(three_steps):
    p, ema = params(), {"0.9": params(), "0.99": params()}
    opt_state = OPTIMIZER.init(p)

    @jax.jit
    def gradient(p, n):
        batch = prepare(jax.random.fold_in(jax.random.key(SEED), n), BATCH)
        return jax.value_and_grad(lambda p: jnp.mean(loss(p, batch)[0]))(p), loss(p, batch)

    state, metrics = three_steps
    for n in range(3):
        (value, grads), (per_example, aux) = gradient(p, n)
        np.testing.assert_allclose(metrics[n]["loss"], value, rtol=1e-5)
        np.testing.assert_allclose(metrics[n]["grad_norm"], optax.tree.norm(grads), rtol=1e-5)
        np.testing.assert_allclose(metrics[n]["per_example_loss"], per_example, rtol=1e-5)
        np.testing.assert_allclose(metrics[n]["aux"]["error"], aux["error"], rtol=1e-4, atol=1e-5)
        updates, opt_state = jax.jit(OPTIMIZER.update)(grads, opt_state, p)
        p = optax.apply_updates(p, updates)
        for decay in ema:
            d = min(float(decay), (1 + n) / (10 + n))
            ema[decay] = jax.tree.map(lambda e, q, d=d: d * e + (1 - d) * q, ema[decay], p)
    chex.assert_trees_all_close(state.params, p, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state.ema, ema, rtol=1e-5, atol=1e-6)
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (3, 0, 0)


@pytest.mark.parametrize(("parallel", "accumulate"), [("jit", 2), ("pmap", 4)])
def test_accumulation_does_not_change_the_result(three_steps, parallel, accumulate):
    step = make_train_step(prepare, loss, OPTIMIZER, mesh=ONE, parallel=parallel, accumulate=accumulate)
    state, metrics = run(step, start(), [BATCH] * 3)
    chex.assert_trees_all_close(state.params, three_steps[0].params, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state.ema, three_steps[0].ema, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(metrics, three_steps[1], rtol=1e-4, atol=1e-5)  # and rows keep the order of the batch


def test_resuming_is_exact(step, three_steps):
    state, _ = run(step, start(), [BATCH])
    state = jax.tree.map(jnp.array, jax.device_get(state))
    state, _ = run(step, state, [BATCH] * 2)
    chex.assert_trees_all_equal(state.params, three_steps[0].params)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_non_finite_steps_are_skipped_and_counted(step, bad):
    broken = {"x": BATCH["x"].copy()}
    broken["x"][2, 1] = bad  # 1e30: the loss of one example overflows
    state, _ = run(step, start(), [BATCH] * 2)
    before = jax.device_get((state.params, state.opt_state, state.ema))
    state, metrics = run(step, state, [broken])
    assert not np.isfinite(metrics[0]["loss"])
    chex.assert_trees_all_equal(before, (state.params, state.opt_state, state.ema))
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (3, 1, 1)
    state, _ = run(step, state, [broken])
    assert (int(state.skipped), int(state.skipped_in_a_row)) == (2, 2)
    check_finite(state, 3)
    with pytest.raises(FloatingPointError, match="not finite in 2 steps in a row, up to step 4"):
        check_finite(state, 2)
    state, _ = run(step, state, [BATCH])
    assert (int(state.step), int(state.skipped), int(state.skipped_in_a_row)) == (5, 2, 0)
    assert not np.array_equal(before[0]["w"], state.params["w"])
    check_finite(state, 1)


def test_steps_with_an_infinite_gradient_are_skipped():
    step = make_train_step(
        lambda key, batch: batch, lambda p, b: (jnp.sqrt(jnp.sum(p["w"] * b["x"], 1)), {}), optax.sgd(0.1), mesh=ONE
    )
    state = init_state(jax.random.key(0), {"w": jnp.zeros(3)}, optax.sgd(0.1))
    state, metrics = step(state, BATCH)
    assert np.isfinite(metrics["loss"])
    assert int(state.skipped) == 1
    np.testing.assert_array_equal(state.params["w"], 0)


def test_step_donates_the_state_and_traces_once():
    step = make_train_step(prepare, chex.assert_max_traces(loss, n=1), OPTIMIZER, mesh=ONE)
    state, _ = step(start(), BATCH)
    first = state.params["w"]
    for _ in range(2):
        state, _ = step(state, BATCH)
    assert first.is_deleted()


def test_bfloat16_loss_keeps_float32_parameters():
    no_noise = lambda key, batch: {**batch, "noise": jnp.zeros((48, 2))}
    low = lambda p, b: (loss(p, b)[0].astype(jnp.bfloat16), {})
    state, metrics = make_train_step(no_noise, low, OPTIMIZER, mesh=ONE)(start(), BATCH)
    assert metrics["loss"].dtype == jnp.float32
    assert {x.dtype for x in jax.tree.leaves((state.params, state.ema))} == {jnp.dtype(jnp.float32)}
