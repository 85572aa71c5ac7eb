"""Distributions over sequences that are counted out: what guidance and truncation of conditionals make of them."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.sequences import counted
from scorekit import autoregressive as ar


@pytest.fixture(scope="module")
def model():
    """Two classes of two dependent codes; the classifier sees the first code."""
    logits = jax.random.normal(jax.random.key(0), (2, 9))
    cond = jax.nn.log_softmax(logits).reshape(2, 3, 3)
    uncond = jnp.log(jnp.exp(cond).mean(0))
    return counted.Counted(cond, uncond, np.repeat([0, 1, 1], 3), 1.0)


def test_guidance_of_the_conditionals_is_that_of_the_joint_at_1_alone(model):
    sequential, joint = counted.guided_rows(model, 1.0)
    np.testing.assert_allclose(sequential.distance, 0, atol=1e-6)
    p = np.exp(model.cond)
    assert sequential.accuracy == pytest.approx((p[0, 0].sum() + p[1, 1:].sum()) / 2, abs=1e-6)
    entropies = -(p * np.log2(p)).sum((1, 2))
    assert joint.entropy == pytest.approx(entropies.mean(), abs=1e-5)
    sequential, joint = counted.guided_rows(model, 3.0)
    assert sequential.distance > 0.01
    assert joint.accuracy > 0.5
    assert joint.entropy < entropies.mean()


def test_changed_conditionals_are_compared_at_equal_entropy(model):
    changed, joint = counted.truncated_rows(model, lambda logits: ar.temperature(logits, 0.5))
    assert changed.entropy == pytest.approx(joint.entropy, abs=1e-3)
    assert changed.distance > 1e-3
    changed, _ = counted.truncated_rows(model, lambda logits: ar.top_k(logits, 1))
    assert changed.entropy == pytest.approx(0, abs=1e-4)
    same, _ = counted.truncated_rows(model, lambda logits: logits)
    assert same.distance < 1e-3


def test_the_temperature_of_an_entropy_is_found(model):
    log_p = model.cond[0]
    bits = counted.entropy_bits(counted.at_temperature(log_p, jnp.asarray(0.3)))
    assert float(counted.temperature_of_entropy(log_p, bits)) == pytest.approx(0.3, rel=1e-3)


def test_the_joint_at_low_temperatures_tends_to_its_most_probable_sequence(model):
    table = counted.temperature_table(model, [0.01, 1.0])
    cold, plain = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert cold["entropy, joint"] == pytest.approx(0, abs=1e-3)
    assert cold["most probable sequence"] == pytest.approx(1, abs=1e-3)
    p = np.exp(np.asarray(model.cond))
    assert plain["most probable sequence"] == pytest.approx(p.max((1, 2)).mean(), abs=1e-6)
    assert plain["total variation"] == pytest.approx(0, abs=1e-6)
    right = [p[k].max() == p[k][[0] if k == 0 else [1, 2]].max() for k in (0, 1)]
    assert cold["accuracy, joint"] == pytest.approx(np.mean(right), abs=1e-3)


def test_the_most_probable_sequences_are_compared_with_real_ones(model):
    p = np.exp(np.asarray(model.cond))
    modes = [np.unravel_index(each.argmax(), (3, 3)) for each in p]
    train = {"x": np.array([modes[0], (0, 1), modes[1], modes[1]]), "label": np.array([0, 0, 1, 1])}
    run = types.SimpleNamespace(dataset=types.SimpleNamespace(train=train))
    table = counted.modes_table(model, run)  # type: ignore[arg-type]
    for k, row in enumerate(table.rows):
        found = dict(zip(table.header, row, strict=True))
        assert found["most probable codes"] == "{} {}".format(*modes[k])
        assert found["information, bits"] == pytest.approx(-np.log2(p[k].max()), rel=1e-5)
        assert found["entropy, bits"] == pytest.approx(-(p[k] * np.log2(p[k])).sum(), rel=1e-5)
        assert found["of real data"] == pytest.approx(0.5 if k == 0 and modes[0] != (0, 1) else 1)
