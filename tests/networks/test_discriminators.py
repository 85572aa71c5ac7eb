"""Discriminators: on features of a denoiser, conditioned by projection; of waveforms; of random windows."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import networks


def randomised(module, *inputs, seed=0):
    """The module's output function, at parameters that are all random."""
    variables = jax.jit(module.init)(jax.random.key(0), *inputs)
    leaves, treedef = jax.tree.flatten(variables)
    rng = np.random.default_rng(seed)
    drawn = [jnp.asarray(0.3 * rng.normal(size=leaf.shape), jnp.float32) for leaf in leaves]
    return variables, lambda *inputs: module.apply(jax.tree.unflatten(treedef, drawn), *inputs)


FEATURES = {
    "deep/inner": np.random.default_rng(0).normal(size=(3, 4, 4, 6)).astype(np.float32),
    "flat": np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32),
}
NOISE, LABELS = np.array([0.5, -1.0, 0.0], np.float32), np.array([0, 2, 1])


def test_feature_discriminator_has_a_logit_of_each_position_and_no_opinion_at_first():
    head = networks.FeatureDiscriminator(channels=8, num_classes=3)
    variables, apply = randomised(head, FEATURES, NOISE, LABELS)
    first = jax.jit(head.apply)(variables, FEATURES, NOISE, LABELS)
    assert jax.tree.map(jnp.shape, first) == {"deep/inner": (3, 4, 4), "flat": (3,)}
    assert all((logits == 0).all() for logits in jax.tree.leaves(first))
    apply = jax.jit(apply)
    found = apply(FEATURES, NOISE, LABELS)
    doubled = apply({name: 2 * h for name, h in FEATURES.items()}, NOISE, LABELS)
    other_labels, other_noise = apply(FEATURES, NOISE, LABELS[::-1]), apply(FEATURES, NOISE + 0.1, LABELS)
    for name, logits in found.items():
        changed = np.abs(other_labels[name] - logits).reshape(3, -1).max(1) > 1e-3
        assert changed.tolist() == [True, False, True]  # the class conditions the logit; the second is the same
        assert (np.abs(other_noise[name] - logits).reshape(3, -1).max(1) > 1e-3).all()
        assert np.abs(doubled[name] - logits).mean() > 0.1  # contrast is not normalised away
    alone = {name: h[:1] for name, h in FEATURES.items()}
    np.testing.assert_allclose(apply(alone, NOISE[:1], LABELS[:1])["flat"], found["flat"][:1], rtol=1e-4)


def test_projection_of_a_head_without_hidden_layers_is_linear_in_the_features():
    """``logit = w h + b + <V e, h>``: its second difference in h is zero."""
    head = networks.FeatureDiscriminator(channels=8, layers=0, num_classes=3)
    _, apply = randomised(head, FEATURES, NOISE, LABELS)
    apply = jax.jit(apply)
    at = lambda scale: apply({name: scale * h for name, h in FEATURES.items()}, NOISE, LABELS)["deep/inner"]
    np.testing.assert_allclose(at(2.0) + at(0.0), 2 * at(1.0), rtol=1e-4, atol=1e-5)
    assert np.abs(at(1.0) - at(0.0)).max() > 0.1


SCALES = networks.MultiScaleDiscriminator(channels=4, max_channels=16, depth=2)
WAVES = np.random.default_rng(2).normal(size=(2, 150, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def scales():
    """The multi-scale discriminator at its first parameters."""
    variables = jax.jit(SCALES.init)(jax.random.key(0), WAVES)
    apply = jax.jit(SCALES.apply)
    return lambda x: apply(variables, x)


@pytest.mark.slow
def test_multi_scale_discriminator_sees_averages_at_its_lower_rates(scales):
    """The highest frequency of a signal is invisible after the first average, but at the ends; a constant is not."""
    alternating = np.where(np.arange(150) % 2, 1.0, -1.0).astype(np.float32)[None, :, None]
    plain, at_nyquist, raised = scales(WAVES), scales(WAVES + alternating), scales(WAVES + 1)
    assert [len(features) for features in plain.features] == [4, 4, 4]
    assert [logits.shape for logits in plain.logits] == [(2, 10), (2, 5), (2, 3)]
    for scale in range(3):
        changes = [np.abs(other.features[scale][0] - plain.features[scale][0]) for other in (at_nyquist, raised)]
        inside = [change[:, 9:-9].mean() for change in changes]  # 7 positions from an end, and 2 of averages
        assert inside[1] > 0.1
        assert inside[0] > 0.1 if scale == 0 else inside[0] < 1e-6


@pytest.mark.slow
def test_weights_of_waveform_discriminators_are_normalised():
    """Doubling a kernel changes nothing; doubling its length doubles what the layer gives before its bias."""
    variables = jax.jit(SCALES.init)(jax.random.key(0), WAVES)
    apply = jax.jit(SCALES.apply)
    larger = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 2 * leaf if "kernel" in str(path[-1]) and "norm" not in str(path[-2]) else leaf, variables
    )
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (variables, larger)), strict=True))
    np.testing.assert_allclose(apply(larger, WAVES).logits[1], apply(variables, WAVES).logits[1], rtol=1e-4, atol=1e-6)


WINDOWS = networks.RandomWindowDiscriminator((8, 32), channels=4, depth=1, num_classes=3, vector_size=2)
PLACE = np.array([[[0.0], [0.5]], [[1.0], [0.999]]], np.float32)
VECTORS = np.array([[0.1, -1.0], [2.0, 0.3]], np.float32)


@pytest.mark.slow
def test_random_windows_are_where_they_should_be_and_nothing_else_is_seen():
    _, apply = randomised(WINDOWS, WAVES, PLACE, LABELS[:2], VECTORS)
    apply = jax.jit(apply)
    logits = lambda x: apply(x, PLACE, LABELS[:2], VECTORS).logits
    slopes = jax.jit(jax.jacrev(lambda x: [each.sum(1) for each in logits(x)]))(WAVES)
    for window, first, slope in zip((8, 32), ((0, 142), (59, 118)), slopes, strict=True):
        for example, start in enumerate(first):
            seen = np.flatnonzero(np.abs(slope[example, example, :, 0]) > 1e-9)
            assert (seen[0], seen[-1]) == (start, start + window - 1)
            assert not np.any(slope[example, 1 - example])
    assert [each.shape for each in logits(WAVES)] == [(2, 4), (2, 4)]  # 8 positions each, halved once


def test_random_windows_of_images_are_folded_into_channels():
    """With the first layer as the identity its output is the neighbours of each position, and only them."""
    module = networks.RandomWindowDiscriminator((2, 4), channels=4, depth=0)
    x, place = np.arange(36, dtype=np.float32).reshape(1, 6, 6, 1), np.array([[[1.0, 0.0], [0.5, 0.999]]], np.float32)
    variables = jax.jit(module.init)(jax.random.key(0), x, place)
    kernel = np.zeros((3, 3, 4, 4), np.float32)
    kernel[1, 1] = np.eye(4)
    params = variables["params"]
    params["window1_input"] = {"kernel": jnp.asarray(kernel), "bias": jnp.zeros(4)}
    found = jax.jit(module.apply)(variables, x, place).features[1][0]
    window = x[0, 1:5, 2:6, 0]
    expected = window.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_logits_of_random_windows_are_of_their_class_and_vector():
    _, apply = randomised(WINDOWS, WAVES, PLACE, LABELS[:2], VECTORS)
    apply = jax.jit(apply)
    first = apply(WAVES, PLACE, LABELS[:2], VECTORS)
    for labels, vectors in ((LABELS[:2] * 0 + 1, VECTORS), (LABELS[:2], VECTORS[::-1])):
        other = apply(WAVES, PLACE, labels, vectors)
        for a, b in zip(first.logits, other.logits, strict=True):
            assert np.abs(a - b).max() > 1e-3
        chex.assert_trees_all_equal(first.features, other.features)  # the conditions are in the logits alone
