"""Power-function averages and averages of any width after training, against sums over all steps."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from golden import random_tensors

from scorekit.training import (
    init_ema,
    init_state,
    make_mesh,
    make_train_step,
    place_state,
    post_hoc_ema,
    post_hoc_weights,
    power_ema_gamma,
    power_ema_rate,
    save_snapshots,
    update_ema,
)

UPDATE = jax.jit(update_ema)


def test_the_exponent_of_a_tiny_width_is_its_inverse():
    np.testing.assert_allclose(power_ema_gamma(1e-200), 1e200)


def profile(width, updates, steps=None):
    """The weight of each step in the average: the integral of the density over a step."""
    k = np.arange(1, (steps or updates) + 1, dtype=float)
    power = power_ema_gamma(width) + 1
    return np.where(k <= updates, (k / updates) ** power - ((k - 1) / updates) ** power, 0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """200 steps of a smooth path, snapshots at every tenth: the folder, the path and the last state."""
    folder, steps = tmp_path_factory.mktemp("run") / "snapshots", 200
    phases = np.linspace(0.0, 3.0, 4)
    path = np.exp(-np.arange(1, steps + 1)[:, None] / 80) * np.sin(np.arange(steps)[:, None] / 30 + phases) + phases
    path = jnp.asarray(path, jnp.float32)
    state = init_state(jax.random.key(0), {"a": {"w": path[0]}}, optax.sgd(0.1), (0.9,), (0.05, 0.1))
    for n, values in enumerate(path):
        state = dataclasses.replace(state, step=jnp.int32(n + 1), ema=UPDATE(state.ema, {"a": {"w": values}}, n))
        if (n + 1) % 10 == 0:
            save_snapshots(folder, state)
    return folder, np.asarray(path, np.float64), state


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.28])
def test_the_width_is_the_standard_deviation_of_the_profile(width):
    weights, t = profile(width, 100_000), (np.arange(100_000) + 0.5) / 100_000
    gamma = power_ema_gamma(width)
    mean = weights @ t
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-12)
    np.testing.assert_allclose(mean, (gamma + 1) / (gamma + 2), rtol=1e-6)
    np.testing.assert_allclose(np.sqrt(weights @ (t - mean) ** 2), width, rtol=1e-5)


def test_a_stored_average_is_the_sum_over_all_steps(run):
    _, path, state = run
    for width in (0.05, 0.1):
        expected = profile(width, len(path)) @ path
        np.testing.assert_allclose(state.ema[f"power_{width}"]["a"]["w"], expected, rtol=2e-6, atol=1e-6)


def test_the_rate_keeps_its_digits_after_many_updates():
    n, power = np.array([0, 10**6, 10**7]), power_ema_gamma(0.05) + 1
    exact = -np.expm1(power * np.log1p(-1 / (n[1:] + 1.0)))
    np.testing.assert_allclose(power_ema_rate(0.05, n), [1.0, *exact], rtol=1e-6)
    assert np.isnan(jax.jit(lambda n: power_ema_rate(0.05, n))(-1))


def test_the_weights_are_least_squares_between_the_densities():
    updates, widths, target = np.repeat([40.0, 70.0, 100.0], 2), np.tile([0.05, 0.1], 3), 0.07
    s = (np.arange(200_000) + 0.5) / 2000
    density = lambda t, w: np.where(s <= t, (power_ema_gamma(w) + 1) / t * (s / t) ** power_ema_gamma(w), 0.0)
    basis, wanted = np.stack([density(t, w) for t, w in zip(updates, widths, strict=True)]), density(100.0, target)
    expected = np.linalg.lstsq(basis.T, wanted)[0]
    weights = post_hoc_weights(updates, widths, 100, target)
    np.testing.assert_allclose(weights, expected / expected.sum(), atol=1e-5)
    stored = post_hoc_weights(updates, widths, 70, 0.05)
    np.testing.assert_allclose(stored, [0, 0, 1, 0, 0, 0], atol=1e-9)
    earlier = post_hoc_weights(updates[:4], widths[:4], 70, target)
    np.testing.assert_allclose(post_hoc_weights(updates, widths, 70, target), [*earlier, 0, 0], atol=1e-9)


@pytest.mark.parametrize(("width", "error"), [(0.03, 4e-3), (0.07, 3e-4), (0.15, 1e-3), (0.2, 5e-3)])
@pytest.mark.parametrize("step", [200, 150])
def test_a_reconstruction_is_close_to_the_average_of_all_steps(run, width, error, step):
    folder, path, _ = run
    found, params = post_hoc_ema(folder, width, step=step)
    expected = profile(width, step) @ path[:step]
    assert found == step
    assert np.abs(params["a"]["w"] - expected).max() < error * np.abs(path).max()


def test_a_stored_width_is_read_bit_for_bit(run):
    folder, _, state = run
    step, params = post_hoc_ema(folder, 0.1, like={"a": {"w": jnp.zeros(4)}})
    assert step == 200
    np.testing.assert_array_equal(params["a"]["w"], state.ema["power_0.1"]["a"]["w"])


def test_bfloat16_halves_the_files(run, tmp_path):
    state = run[2]
    large = {"power_0.05": {"w": jax.random.normal(jax.random.key(0), (64, 64))}}
    state = dataclasses.replace(state, ema=large)
    sizes = []
    for dtype in ("float32", "bfloat16"):
        save_snapshots(tmp_path / dtype, state, dtype)
        (file,) = (tmp_path / dtype).iterdir()
        sizes.append(file.stat().st_size)
        before = file.read_bytes()
        save_snapshots(tmp_path / dtype, state, dtype)
        assert file.read_bytes() == before  # as a run that is resumed writes it again
        _, params = post_hoc_ema(tmp_path / dtype, 0.05)
        np.testing.assert_allclose(params["w"], large["power_0.05"]["w"], rtol=2**-8 if dtype == "bfloat16" else 0)
    assert sizes[1] < 0.55 * sizes[0]


def test_skipped_steps_are_no_updates(tmp_path):
    params = {"w": jnp.ones(3)}
    optimizer = optax.sgd(0.1)
    loss = lambda params, batch: (jnp.mean((params["w"] * batch["x"] - 1) ** 2, axis=1), {})
    step = make_train_step(lambda key, batch: batch, loss, optimizer)
    state = init_state(jax.random.key(0), params, optimizer, (), (0.1,))
    seen = []
    for value in (1.0, np.nan, 2.0, 3.0, np.nan):
        state, _ = step(state, {"x": np.full((8, 3), value, np.float32)})
        save_snapshots(tmp_path, state)
        seen += [np.asarray(state.params["w"], np.float64)] if np.isfinite(value) else []
    expected = profile(0.1, 3) @ np.stack(seen)
    np.testing.assert_allclose(post_hoc_ema(tmp_path, 0.1)[1]["w"], expected, rtol=1e-5)
    assert post_hoc_ema(tmp_path, 0.12)[0] == 5  # the last snapshot has as many updates as the one before
    assert [path.name for path in tmp_path.glob("0000005*")] == ["0000005_3_0.1.npz"]
    other = dataclasses.replace(state, skipped=jnp.int32(0))
    save_snapshots(tmp_path, other)
    assert [path.name for path in tmp_path.glob("0000005*")] == ["0000005_5_0.1.npz"]


def test_averages_of_a_mesh_are_split_stored_and_placed_like_parameters(tmp_path):
    mesh = make_mesh(fsdp=2)
    params = {"w": jnp.arange(8.0).reshape(4, 2), "b": jnp.arange(3.0)}
    state = place_state(init_state(jax.random.key(0), params, optax.sgd(0.1), (), (0.05, 0.1)), mesh)
    state = dataclasses.replace(state, step=jnp.int32(4))
    assert state.ema["power_0.05"]["w"].sharding == state.params["w"].sharding
    assert not state.params["w"].sharding.is_fully_replicated
    save_snapshots(tmp_path, state)
    _, found = post_hoc_ema(tmp_path, 0.05, like=state.params)
    for name in params:
        np.testing.assert_array_equal(found[name], params[name])
        assert found[name].sharding == state.params[name].sharding


def test_wrong_folders_files_and_steps_are_named(run, tmp_path):
    folder = shutil.copytree(run[0], tmp_path / "copy")
    with pytest.raises(FileNotFoundError, match=r"no snapshots of averages in .*nowhere"):
        post_hoc_ema(tmp_path / "nowhere", 0.07)
    with pytest.raises(FileNotFoundError, match=r"at step 15, only at \[10, 20, "):
        post_hoc_ema(folder, 0.07, step=15)
    with pytest.raises(ValueError, match=r"do not fit: a/w is float32\[4\] in the snapshot and float32\[5\] here"):
        post_hoc_ema(folder, 0.07, like={"a": {"w": jnp.zeros(5)}})
    (folder / "0000050_50_0.05.npz").write_bytes(b"PK\3\4 nothing")
    with pytest.raises(ValueError, match=r"snapshot .*0000050_50_0.05.npz is damaged .*; remove it to do without"):
        post_hoc_ema(folder, 0.07)
    (folder / "0000040_40_0.05.npz").replace(folder / "0000050_50_0.05.npz")
    with pytest.raises(ValueError, match=r"0000050_50_0.05.npz was renamed: it was saved at step 40, update 40"):
        post_hoc_ema(folder, 0.05, step=50)
    (folder / "0000050_50_0.05.npz").unlink()
    assert post_hoc_ema(folder, 0.07)[0] == 200
    with pytest.raises(ValueError, match=r"with power-function averages, got 0 updates"):
        save_snapshots(folder, init_state(jax.random.key(0), jnp.ones(2), optax.sgd(0.1), (), (0.1,)))


def test_averages_and_reconstructions_are_those_of_ema_pytorch():
    _, about, arrays = random_tensors.load("post_hoc_ema")
    stored, every = about["stored"], about["every"]
    np.testing.assert_allclose([power_ema_gamma(w) for w in stored], about["gammas"], rtol=1e-12)
    # it copies the first parameters before it averages them, so that its t is one larger
    ema, snapshots = init_ema(jnp.asarray(arrays["walk"][0]), (), stored), []
    for n, values in enumerate(arrays["walk"], start=1):
        ema = UPDATE(ema, jnp.asarray(values), n)
        if n % every == 0:
            snapshots.append([ema[f"power_{width}"] for width in stored])
    snapshots = np.array(snapshots)
    relative = lambda a, b: np.abs(a - b).max() / np.abs(b).max()
    assert relative(snapshots, arrays["averages"]) < 1e-5
    # the first parameter is 1: its weights do not sum to exactly one
    theirs = arrays["reconstructed"] / arrays["reconstructed"][:, :1]
    updates, widths = np.repeat(every * np.arange(1, len(snapshots) + 1), 2), np.tile(stored, len(snapshots))
    flat = snapshots.reshape(len(updates), -1)
    for width, expected in zip(about["wanted"], theirs, strict=True):
        assert relative(post_hoc_weights(updates, widths, len(arrays["walk"]), width) @ flat, expected) < 1e-4
