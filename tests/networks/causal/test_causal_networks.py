"""The causal networks: what each output depends on, one position at a time, sparse attention, precision."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.networks import CausalTransformer, CausalWaveNet, Masked, PixelCNN, TieredNetwork
from scorekit.networks.causal._causal import attends, causal_attention, relative_logits

KEY = jax.random.key(0, impl="rbg")
RNG = np.random.default_rng(0)
BATCH, LENGTH, CODES = 2, 12, 5
SIZES = {"num_classes": 3, "vector_size": 2, "map_size": 2}
WAVE = {"channels": 4, "layers": 4, "cycle": 2}
ATTENTION = {"depth": 1, "width": 8, "heads": 2, "window": 3}
NETWORKS = {
    "wavenet": CausalWaveNet(outputs=2, **WAVE),
    "wavenet with 3 taps": CausalWaveNet(outputs=2, taps=3, **{**WAVE, "layers": 2}),
    "full": CausalTransformer(outputs=2, **ATTENTION),
    "local": CausalTransformer(outputs=2, pattern="local", **ATTENTION),
    "strided": CausalTransformer(outputs=2, pattern="strided", **ATTENTION),
    "relative": CausalTransformer(outputs=2, relative=4, **ATTENTION),
    "pixels": PixelCNN(columns=4, outputs=2, channels=4, layers=1),
    "pixels with 5 taps": PixelCNN(columns=3, outputs=2, channels=4, layers=1, taps=5),
    "pixels without a blind spot": PixelCNN(columns=4, outputs=2, channels=4, layers=3),
    "tiered": TieredNetwork(
        upper=CausalWaveNet(outputs=3 * 2, channels=4, layers=1, cycle=1),
        lower=CausalWaveNet(outputs=2, channels=4, layers=1, cycle=1, map_size=2),
        factor=3,
    ),
}
UPPER = CausalWaveNet(outputs=3 * 2, channels=4, layers=1, cycle=1, num_classes=3, vector_size=2)
LOWER = CausalWaveNet(outputs=CODES, num_codes=CODES, channels=4, layers=1, cycle=1, **SIZES)
WITH_CODES = {
    "wavenet": CausalWaveNet(outputs=CODES, num_codes=CODES, taps=3, **WAVE, **SIZES),
    "strided": CausalTransformer(outputs=CODES, num_codes=CODES, pattern="strided", **ATTENTION, **SIZES),
    "full": CausalTransformer(outputs=CODES, num_codes=CODES, **ATTENTION, **SIZES),
    "local": CausalTransformer(outputs=CODES, num_codes=CODES, pattern="local", **ATTENTION, **SIZES),
    "relative": CausalTransformer(outputs=CODES, num_codes=CODES, relative=4, **ATTENTION, **SIZES),
    "pixels with 5 taps": PixelCNN(columns=4, outputs=CODES, num_codes=CODES, channels=4, layers=2, taps=5, **SIZES),
    "tiered": TieredNetwork(upper=UPPER, lower=LOWER, factor=3),
}


def perturbed(network, x, scale=0.5, **conditions):
    """Parameters away from the zeros of the initialisation."""
    shapes = jax.eval_shape(network.init, KEY, x, **conditions)
    rng = np.random.default_rng(1)  # the same whichever tests ran before
    return jax.tree.map(lambda s: jnp.asarray(scale * rng.normal(size=s.shape), s.dtype), shapes)


def reach(network):
    """Whether input j reaches output i, from the definitions: input j stands at position j + 1."""
    if isinstance(network, CausalTransformer):
        place = jnp.arange(LENGTH)
        near = attends(network.pattern, network.window, network.heads, place[:, None], place + 1)
        return np.asarray(near.any(0))
    if isinstance(network, PixelCNN):
        return reach_of_pixels(network)
    i, j = np.indices((LENGTH, LENGTH))
    if isinstance(network, TieredNetwork):
        frames = i // network.factor - j // network.factor
        near = (j < i) & (i - j <= network.lower.receptive_field)
        return near | ((frames >= 1) & (frames <= network.upper.receptive_field))
    return (j < i) & (i - j <= network.receptive_field)


def reach_of_pixels(network):
    """Backwards through the stacks, one layer and one position at a time; row r of v starts as the inputs of r - 1."""
    side, rows, columns = (network.taps - 1) // 2, LENGTH // network.columns, network.columns
    found = np.zeros((LENGTH, LENGTH), bool)
    for place in np.ndindex(rows, columns):
        h, v = {place}, set()
        for _ in range(network.layers):
            v |= h  # by link
            v = {(r - a, c + b) for r, c in v for a in range(side + 1) for b in range(-side, side + 1)}
            v = {(r, c) for r, c in v if r >= 1 and 0 <= c < columns}
            h = {(r, c - b) for r, c in h for b in range(side + 1) if c >= b}
        inputs = [r * columns + c - 1 for r, c in h] + [(r - 1) * columns + c for r, c in v]
        found[place[0] * columns + place[1], [j for j in inputs if j >= 0]] = True
    return found


FAST = ("wavenet", "pixels")
EACH = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in NETWORKS]


@pytest.mark.parametrize("name", EACH)
def test_jacobian_has_the_mask_of_the_pattern(name):
    network = NETWORKS[name]
    x = jnp.asarray(RNG.normal(size=(1, LENGTH, 1)), jnp.float32)
    params = perturbed(network, x)
    jacobian = jax.jit(jax.jacfwd(lambda x: network.apply(params, x[None])[0]))(x[0])
    found = np.asarray(jnp.abs(jacobian).sum((1, 3)) != 0)
    assert np.array_equal(found, reach(network))
    assert not np.triu(found).any()


UNSHIFTED = {
    "wavenet": CausalWaveNet(outputs=1, shifted=False, **WAVE),
    "full": CausalTransformer(outputs=1, shifted=False, **ATTENTION),
}


@pytest.mark.parametrize("name", ["wavenet", pytest.param("full", marks=pytest.mark.slow)])
def test_without_the_shift_a_position_sees_itself_and_has_a_noise_level_of_its_own(name):
    network = UNSHIFTED[name]
    x, noise = (jnp.asarray(RNG.normal(size=shape), jnp.float32) for shape in ((1, LENGTH, 1), (1, LENGTH)))
    params = perturbed(network, x)
    jacobians = jax.jit(jax.jacfwd(lambda x, noise: network.apply(params, x, noise)[0, :, 0], argnums=(0, 1)))
    of_x, of_noise = jacobians(x, noise)
    for found in (np.asarray(of_x)[:, 0, :, 0] != 0, np.asarray(of_noise)[:, 0] != 0):
        assert not np.triu(found, 1).any()
        assert np.diag(found).all()
        assert np.tril(found, -1).any()
    shifted = network.clone(shifted=True)
    both = jax.jit(lambda params, x: [network.apply(params, x, c) for c in (jnp.full((1, LENGTH), 0.3), 0.3)])
    np.testing.assert_allclose(*both(params, x), atol=1e-5)
    with pytest.raises(
        ValueError, match=r"noise must be a scalar or have shape \(1,\), or \(1, 12\), one per position"
    ):
        jax.eval_shape(lambda: network.apply(params, x, jnp.zeros((1, 3))))
    with pytest.raises(ValueError, match=r"noise must be a scalar or have shape \(1,\), got"):
        jax.eval_shape(lambda: shifted.init(KEY, x, jnp.zeros((1, LENGTH))))


def conditions(with_map):
    vector = Masked(jnp.asarray(RNG.normal(size=(BATCH, 2)), jnp.float32), jnp.array([True, False]))
    given = {"noise": jnp.array([0.3, -1.0]), "labels": jnp.array([1, 3]), "vector": vector}
    return given, jnp.asarray(RNG.normal(size=(BATCH, LENGTH, 2)), jnp.float32) if with_map else None


STEPPED = {
    **{f"codes, {name}": network for name, network in WITH_CODES.items()},
    **{f"values, {name}": NETWORKS[name] for name in ("wavenet", "local")},
    "values, full, without the shift": UNSHIFTED["full"],
}
"""Of values the networks whose position i does not see the value at i, as mixtures are sampled, and a denoiser."""


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPED)
def test_one_position_at_a_time_gives_the_same_outputs(name):
    network, shifted = STEPPED[name], "without" not in name
    codes = name.startswith("codes")
    x = RNG.integers(0, CODES, (BATCH, LENGTH)) if codes else RNG.normal(size=(BATCH, LENGTH, 1)).astype(np.float32)
    given, dense_map = conditions(network.map_size is not None) if codes else ({"noise": 0.0 if shifted else 0.3}, None)
    params = perturbed(network, x)

    @jax.jit
    def one_at_a_time(params, x):
        def body(state, inputs):
            previous, i = inputs
            row = None if dense_map is None else dense_map[:, i]
            return network.apply(params, state, previous, row, method="step")[::-1]

        state = network.apply(params, BATCH, LENGTH, **given, method="init_state")
        rows = x.swapaxes(0, 1)
        ignored = jnp.full_like(rows[:1], CODES - 1)  # as the first input
        previous = jnp.concatenate([ignored, rows[:-1]]) if shifted else rows
        return jax.lax.scan(body, state, (previous, jnp.arange(LENGTH)))[1].swapaxes(0, 1)

    expected = jax.jit(lambda params, x: network.apply(params, x, **given, dense_map=dense_map))(params, x)
    assert float(expected.std()) > 0.1
    np.testing.assert_allclose(one_at_a_time(params, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pattern", "length"), [("local", 2), ("local", 11), ("strided", 11)])
def test_sparse_attention_is_masked_attention(pattern, length):
    q, k, v = jnp.asarray(RNG.normal(size=(3, 2, length, 3, 4)), jnp.float32)
    place = np.arange(length)
    mask = np.asarray(attends(pattern, 3, 3, place[:, None], place))
    weights = np.where(mask, np.exp(np.einsum("bqhd,bkhd->bhqk", q, k) / 2.0), 0.0)
    expected = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), v)
    found = jax.jit(causal_attention, static_argnums=(3, 4))(q, k, v, pattern, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    i, j = np.indices((length, length))
    assert np.array_equal(mask[0], (j <= i) & (j >= i - 3))
    assert np.array_equal(mask[2], (j <= i) & ((i - j) % 3 == 0 if pattern == "strided" else j >= i - 3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["full", "wavenet", "pixels"])
def test_bfloat16_and_rematerialisation_compute_the_same(name):
    network = NETWORKS[name]
    x = jnp.asarray(RNG.normal(size=(BATCH, LENGTH, 1)), jnp.float32)
    params = perturbed(network, x, 0.3)
    loss = lambda params, **changes: jnp.sum(jnp.square(network.clone(**changes).apply(params, x)))
    exact, gradient = jax.jit(jax.value_and_grad(loss))(params)
    _, again = jax.jit(jax.value_and_grad(functools.partial(loss, remat=True)))(params)
    chex.assert_trees_all_close(again, gradient, rtol=1e-4, atol=1e-4)
    coarse = jax.jit(functools.partial(loss, dtype=jnp.bfloat16))(params)
    assert coarse.dtype == jnp.float32
    assert coarse != exact
    np.testing.assert_allclose(coarse, exact, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavenet", "full"])
def test_dropout_is_active_when_it_has_a_key_and_differs_in_every_block(name):
    network = NETWORKS[name]
    x = jnp.asarray(RNG.normal(size=(BATCH, LENGTH, 1)), jnp.float32)
    params = perturbed(network, x)
    dropping = network.clone(dropout=0.5, remat=True)
    apply = jax.jit(lambda key: dropping.apply(params, x, rngs={"dropout": key}))
    one, other = apply(jax.random.key(0)), apply(jax.random.key(1))
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one, apply(jax.random.key(0)))
    exact = network.apply(params, x)
    np.testing.assert_allclose(dropping.apply(params, x), exact, rtol=1e-5, atol=1e-6)
    linear = dropping.clone(dropout=1e-3)
    near = linear.apply(params, x, rngs={"dropout": jax.random.key(2)})
    assert np.median(np.abs(near - exact)) < 0.02 * np.std(exact)


@pytest.mark.parametrize("name", ["wavenet", "pixels"])
def test_state_of_convolutions_does_not_grow_with_the_length(name):
    bytes_of = lambda network, length: sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(
            jax.eval_shape(lambda: network.init_with_output(KEY, 1, length, method="init_state")[0])
        )
    )
    convolutions, full = NETWORKS[name], NETWORKS["full"]
    assert bytes_of(convolutions, 10) == bytes_of(convolutions, 1000)
    grows = bytes_of(full, 1000) - bytes_of(full, 500)
    assert grows == bytes_of(full, 1500) - bytes_of(full, 1000) > 0


@pytest.mark.slow
def test_positions_after_the_last_are_nan():
    network = NETWORKS["full"]
    params = jax.eval_shape(network.init, KEY, np.zeros((1, 2, 1), np.float32))
    params = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), params)

    @jax.jit
    def two_steps(params):
        state = network.apply(params, 1, 1, method="init_state")
        step = lambda state, _: network.apply(params, state, jnp.zeros((1, 1)), method="step")[::-1]
        return jax.lax.scan(step, state, None, length=2)[1]

    assert np.isnan(two_steps(params)).any((1, 2)).tolist() == [False, True]


@pytest.mark.parametrize("name", ["strided", "relative", "pixels with 5 taps", "tiered"])
def test_steps_are_float32_under_x64(name):
    network = WITH_CODES[name]
    with jax.enable_x64(True):
        params = jax.eval_shape(network.init, KEY, np.zeros((1, LENGTH), np.int32))
        state = jax.eval_shape(lambda params: network.apply(params, 1, LENGTH, method="init_state"), params)
        advance = lambda params, state: network.apply(params, state, np.zeros(1, np.int32), method="step")
        outputs, after = jax.eval_shape(advance, params, state)
    assert outputs.dtype == np.float32
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("near", [1, 3, LENGTH, 2 * LENGTH])
def test_relative_attention_is_the_sum_over_all_pairs_of_positions(near, x64):
    rng, tolerance = np.random.default_rng(near), 1e-12 if x64 else 1e-5
    query, key, value = rng.normal(size=(3, BATCH, LENGTH, 2, 4))
    distances = rng.normal(size=(near, 2, 4))
    expected, logits = np.zeros_like(query), np.zeros((BATCH, 2, LENGTH, LENGTH))
    for b, i, h in np.ndindex(BATCH, LENGTH, 2):
        own = [query[b, i, h] @ distances[min(i - j, near - 1), h] / 2 for j in range(i + 1)]
        weights = np.exp(own + key[b, : i + 1, h] @ query[b, i, h] / 2)
        logits[b, h, i, : i + 1], expected[b, i, h] = own, weights / weights.sum() @ value[b, : i + 1, h]
    with jax.enable_x64(x64):
        given, e = [jnp.asarray(x, float) for x in (query, key, value)], jnp.asarray(distances, float)
        bias = relative_logits(given[0], e)
        np.testing.assert_allclose(np.tril(bias), logits, rtol=tolerance, atol=tolerance)
        found = causal_attention(*given, "full", 1, bias=bias)  # whose softmax is in float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        for i in (0, LENGTH - 1):
            one = relative_logits(given[0][:, [i]], e, jnp.asarray(i), LENGTH)
            np.testing.assert_allclose(one[..., : i + 1], bias[:, :, [i], : i + 1], rtol=tolerance, atol=tolerance)
