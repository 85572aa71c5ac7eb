"""Recall at k counted by hand and over all orders, standard errors by the jackknife, distances to the nearest point."""

import itertools
import math

import jax
import numpy as np
import pytest

from scorekit import metrics

SCORES = np.array([[0.9, 0.8, 0.7, 0.1], [0.2, 0.6, 0.9, 0.5], [0.3, 0.9, 0.8, 0.7]], np.float32)
RIGHT = np.array([[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 0, 1]], bool)
HITS = {1: [1, 0, 0], 2: [1, 1, 0], 3: [1, 1, 1], 4: [1, 1, 1], 9: [1, 1, 1]}


accuracy = jax.jit(metrics.retrieval_accuracy, static_argnames="k")


@pytest.mark.parametrize("k", HITS)
def test_recall_at_k_counted_by_hand(k):
    np.testing.assert_array_equal(accuracy(SCORES, RIGHT, k=k), HITS[k])


@pytest.mark.parametrize("k", [1, 3])
def test_all_orders_of_scores_have_the_mean_of_equal_scores_which_is_chance(k):
    orders = np.array([*itertools.permutations(range(5)), np.zeros(5)], np.float32)
    right = np.arange(5) < np.arange(1, 4)[:, None]
    found = np.reshape(accuracy(np.tile(orders, (3, 1)), np.repeat(right, len(orders), axis=0), k=k), (3, -1))
    chance = [1 - math.comb(5 - number, k) / math.comb(5, k) for number in (1, 2, 3)]
    np.testing.assert_allclose(found[:, :-1].mean(1), chance, rtol=1e-5)
    np.testing.assert_allclose(found[:, -1], chance, rtol=1e-5)


def test_equal_scores_are_the_mean_over_the_orders_that_break_them():
    scores, right = np.array([3.0, 2.0, 2.0, 2.0, 1.0]), np.array([False, True, False, True, False])
    broken = [scores - 1e-3 * np.array([0, *order, 0]) for order in itertools.permutations(range(3))]
    for k, expected in ((1, 0.0), (2, 2 / 3), (3, 1.0)):
        found = np.asarray(accuracy(np.array([scores, *broken]), np.tile(right, (7, 1)), k=k))
        np.testing.assert_allclose([found[0], found[1:].mean()], expected, rtol=1e-5)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    x = np.random.default_rng(0).normal(size=(12, 2))
    found = metrics.jackknife_error(lambda part: part.mean(0), x, num_groups=12)
    np.testing.assert_allclose(found, x.std(0, ddof=1) / math.sqrt(12), rtol=1e-5)
    means = x.reshape(3, 4, 2).mean(0)  # every fourth example is in one group
    found = metrics.jackknife_error(lambda part: part.mean(0), x, num_groups=4)
    np.testing.assert_allclose(found, means.std(0, ddof=1) / 2, rtol=1e-5)


def test_examples_that_fill_no_group_are_never_left_out():
    x = np.zeros(7)
    x[6] = 1e3
    assert metrics.jackknife_error(lambda part: part.max(), x, num_groups=3) == 0


def test_nearest_distances_are_those_of_all_pairs():
    """In chunks of 256 rows, and far from the origin."""
    x, y = 1000.0 + np.random.default_rng(0).normal(size=(2, 300, 4)).astype(np.float32)
    expected = np.linalg.norm(x[:, None] - y[None], axis=-1).min(1)
    np.testing.assert_allclose(metrics.nearest_distances(x, y), expected, rtol=1e-4)
