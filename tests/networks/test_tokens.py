"""Cross-attention on tokens: the formula, padding, the null token, dropping; where unused it changes nothing."""

import jax
import numpy as np
import pytest

from scorekit.networks import ABSENT, DiT, Masked, ResidualUNet, UNet, drop_conditions
from scorekit.networks._tokens import TokenAttention, as_tokens

BATCH, TOKENS, SIZE = 3, 4, 5
SIZES = {"heads": 2, "vector_size": 2}
KINDS = {
    "DiT": lambda **given: DiT(patch=1, depth=2, width=8, **SIZES, **given),
    "ResidualUNet": lambda **given: ResidualUNet(
        channels=8, multipliers=(1,), middle_attention="none", **SIZES, **given
    ),
    "UNet": lambda **given: UNet(channels=8, multipliers=(1,), attention_resolutions=(2,), **SIZES, **given),
}
RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


X, NOISE, VALUE, VECTOR = normal(BATCH, 2, 2, 1), normal(BATCH), normal(BATCH, TOKENS, SIZE), normal(BATCH, 2)
ALL = Masked(VECTOR, np.ones(BATCH, bool))
PRESENT = np.array([[True] * 4, [True, True, False, False], [False] * 4])


def named(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


class Case:
    """A network with tokens and one without, and random parameters."""

    def __init__(self, kind):
        self.network, self.plain = KINDS[kind](token_size=SIZE), KINDS[kind]()
        shapes = jax.eval_shape(self.network.init, jax.random.key(0), X, NOISE)
        rng = np.random.default_rng(1)
        self.params = jax.tree.map(lambda leaf: 0.4 * rng.normal(size=leaf.shape).astype(leaf.dtype), shapes)
        self.compile = jax.jit if kind == "DiT" else lambda function: function  # the U-Net's operations are shared
        self.apply = self.compile(self.network.apply)

    def __call__(self, value, present, params=None, vector=ALL):
        params = self.params if params is None else params
        return np.asarray(self.apply(params, X, NOISE, None, vector, tokens=Masked(value, present)))


@pytest.fixture(
    scope="module", params=["DiT", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("ResidualUNet", "UNet"))]
)
def case(request):
    return Case(request.param)


def test_attention_is_the_formula():
    layer, h, mask = TokenAttention(heads=2), normal(BATCH, 3, 8), PRESENT | (np.arange(TOKENS) == 0)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), h, (VALUE, mask))["params"]
    p = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape).astype(np.float32), shapes)
    found = np.asarray(layer.apply({"params": p}, h, (VALUE, mask)))
    dense = lambda name, x: x.astype(np.float64) @ p[name]["kernel"] + p[name]["bias"]
    for i in range(BATCH):
        q, (k, v) = dense("q", h[i]), np.split(dense("kv", VALUE[i][mask[i]]), 2, axis=-1)
        y = []
        for part in (slice(0, 4), slice(4, 8)):
            weights = np.exp(q[:, part] @ k[:, part].T / 2)
            y.append(weights / weights.sum(-1, keepdims=True) @ v[:, part])
        np.testing.assert_allclose(found[i], dense("close", np.concatenate(y, -1)), rtol=1e-4, atol=1e-4)


def test_padding_never_matters(case):
    found = case(VALUE, PRESENT)
    other = np.where(PRESENT[..., None], VALUE, np.float32(np.nan))
    np.testing.assert_array_equal(case(other, PRESENT), found)
    wide = np.concatenate([other, np.full((BATCH, 3, SIZE), 1e9, np.float32)], axis=1)
    mask = np.concatenate([PRESENT, np.zeros((BATCH, 3), bool)], axis=1)
    np.testing.assert_allclose(case(wide, mask), found, rtol=1e-5, atol=1e-5)
    changed = VALUE + PRESENT[..., None]  # ... and tokens that are present do
    differs = np.abs(case((changed * [1, 2, 3, 4, 5]).astype(np.float32), PRESENT) - found).reshape(BATCH, -1).max(1)
    assert (differs > 1e-3).tolist() == [True, True, False]


def test_where_no_token_is_present_the_null_token_is(case):
    null = case(VALUE, np.zeros((BATCH, TOKENS), bool))
    found = case(VALUE, PRESENT)
    np.testing.assert_array_equal(found[2], null[2])
    assert (np.abs(found - null)[:2].reshape(2, -1).max(1) > 1e-3).all()
    np.testing.assert_allclose(case.apply(case.params, X, NOISE, None, VECTOR), null, rtol=1e-5, atol=1e-5)
    inner = dict(case.params["params"])
    inner["tokens"] = {**inner["tokens"], "null": inner["tokens"]["null"] + 1}
    other = case(VALUE, PRESENT, {"params": inner})
    np.testing.assert_array_equal(other[:2], found[:2])
    assert np.abs(other[2] - found[2]).max() > 1e-3


def test_dropped_tokens_are_absent():
    given = {"tokens": Masked(VALUE, PRESENT)}
    dropped = drop_conditions(jax.random.key(0), given, {"tokens": ABSENT}, {"tokens": 1.0})["tokens"]
    np.testing.assert_array_equal(dropped.present, PRESENT & False)


def test_a_network_without_tokens_is_what_it_was(case):
    """The same parameters, and the output of the network with tokens before they have learned."""
    shapes = lambda network: named(jax.eval_shape(network.init, jax.random.key(0), X, NOISE))
    wide, plain = shapes(case.network), shapes(case.plain)
    assert {name: leaf for name, leaf in wide.items() if "tokens" not in name} == plain
    assert not any("tokens" in name for name in plain)
    last = lambda path: "tokens" in path and ("['close']" in path or "['out']" in path)
    quiet = lambda path, leaf: 0 * leaf if last(path) else leaf
    params = jax.tree_util.tree_map_with_path(lambda path, leaf: quiet(jax.tree_util.keystr(path), leaf), case.params)
    without = lambda tree: {
        name: without(leaf) if isinstance(leaf, dict) else leaf for name, leaf in tree.items() if "tokens" not in name
    }
    expected = case.compile(case.plain.apply)(without(params), X, NOISE, None, VECTOR)
    np.testing.assert_allclose(case(VALUE, PRESENT, params), expected, rtol=1e-4, atol=1e-4)


def test_one_list_of_tokens_is_for_all_and_one_flag_for_an_example():
    value, present = as_tokens(Masked(VALUE[0], np.array([True, False, True])), SIZE, BATCH)
    np.testing.assert_array_equal(present, np.array([[True] * TOKENS, [False] * TOKENS, [True] * TOKENS]))
    np.testing.assert_array_equal(value, VALUE[0] * present[..., None])


def test_token_levels_attend_at_any_size_without_self_attention():
    network = UNet(channels=8, multipliers=(1, 1), token_levels=(1,), token_size=SIZE)
    shapes = [jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, s, s, 1)), NOISE[:1]) for s in (4, 8)]
    assert named(shapes[0]).keys() == named(shapes[1]).keys()
    attentions = {name.split("'")[3] for name in named(shapes[0]) if "_tokens'" in name or "_attention'" in name}
    assert attentions == {"down1_0_tokens", "middle_tokens", "up1_0_tokens"}
