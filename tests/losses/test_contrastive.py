"""Embeddings of pictures and captions: closed forms of the contrastive loss and of moves on the sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit.losses.contrastive import closest, contrastive_loss, slerp, text_difference

RNG = np.random.default_rng(0)


def unit(*shape):
    x = RNG.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("tau", [0.05, 0.5, 1.0])
def test_of_orthonormal_pairs_the_loss_is_a_closed_form(tau):
    """Each row of the logits has one 1 / tau and seven zeros."""
    found = contrastive_loss(jnp.eye(8), jnp.eye(8), np.log(tau))
    np.testing.assert_allclose(found, np.log1p(7 * np.exp(-1 / tau)), rtol=1e-5, atol=1e-7)
    same = jnp.tile(jnp.eye(1, 4), (6, 1))  # of equal similarities it is that of chance
    np.testing.assert_allclose(contrastive_loss(same, same, np.log(tau)), np.log(6), rtol=1e-5)


def test_another_picture_of_the_same_subject_is_no_negative():
    p, c = unit(4, 3), unit(4, 3)
    found = contrastive_loss(p, c, -1.0, np.array([7, 2, 7, 5]))
    logits = np.exp(1.0) * p @ c.T
    for i, left_out in ((0, 2), (1, None), (2, 0)):
        kept = [j for j in range(4) if j != left_out]
        rows = np.log(np.exp(logits[i, kept]).sum()) + np.log(np.exp(logits[kept, i]).sum())
        np.testing.assert_allclose(found[i], 0.5 * rows - logits[i, i], rtol=1e-5)
    alone = contrastive_loss(p, c, -1.0, np.zeros(4, int))
    np.testing.assert_allclose(alone, 0.0, atol=1e-6)


def test_slerp_keeps_the_norm_and_goes_at_constant_speed():
    a, b = unit(6, 5), unit(6, 5)
    theta = np.arccos(np.sum(a * b, -1).astype(float))
    for w in (0.0, 0.3, 1.0):
        found = slerp(a, b, w)
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(np.arccos(np.sum(found * a, -1).clip(-1, 1)), w * theta, atol=2e-3)
        np.testing.assert_allclose(found, slerp(b, a, 1.0 - w), atol=1e-5)
    weights = np.linspace(0, 1, 6, dtype=np.float32)
    np.testing.assert_allclose(slerp(a, b, weights)[2], slerp(a[2], b[2], weights[2]), atol=1e-6)


def test_slerp_between_equal_and_close_vectors_has_no_division_by_zero():
    a = jnp.array([1.0, 0.0])
    np.testing.assert_allclose(slerp(a, a, 0.4), a)
    assert np.isfinite(jax.grad(lambda b: slerp(a, b, 0.4).sum())(a)).all()
    angle = 1e-4
    b = jnp.array([np.cos(angle), np.sin(angle)], jnp.float32)
    np.testing.assert_allclose(slerp(a, b, 0.5)[1], np.sin(angle / 2), rtol=1e-4)
    assert np.isnan(slerp(a, -a, 0.5)).all()


def test_a_difference_of_texts_moves_by_the_weight_times_the_angle_to_it():
    picture, before, after = unit(3, 4), unit(3, 4), unit(3, 4)
    np.testing.assert_allclose(text_difference(picture, before, after, 0.0), picture, atol=1e-6)
    towards = after - before
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    np.testing.assert_allclose(text_difference(picture, before, after, 1.0), towards, atol=1e-5)
    np.testing.assert_allclose(text_difference(picture, before, after, 0.3), slerp(picture, towards, 0.3), atol=1e-6)
    with pytest.raises(ValueError, match=r"^after must be another embedding than before"):
        text_difference(picture, before, before, 0.3)


def test_the_closest_of_several_candidates_has_the_largest_inner_product():
    candidates, target = unit(4, 3, 5), unit(4, 5)
    found = closest(candidates, target)
    for i in range(4):
        assert np.array_equal(found[i], max(candidates[i], key=lambda x: x @ target[i]))
