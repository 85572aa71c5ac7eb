"""Distributions of short sequences that are counted out, and the exact log-likelihood."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import succeeds

from experiments.projects.ood import counted
from scorekit import autoregressive as ar


@pytest.fixture(scope="module")
def model():
    """Two classes of two dependent codes; the classifier sees the first code."""
    logits = jax.random.normal(jax.random.key(0), (2, 9))
    cond = jax.nn.log_softmax(logits).reshape(2, 3, 3)
    return counted.Counted(cond, jnp.log(jnp.exp(cond).mean(0)), np.repeat([0, 1, 1], 3), 1.0)


def test_guidance_of_the_conditionals_is_that_of_the_joint_at_1_alone(model):
    sequential, joint = counted.guided_rows(model, 1.0)
    np.testing.assert_allclose(sequential.distance, 0, atol=1e-6)
    p = np.exp(model.cond)
    assert sequential.accuracy == pytest.approx((p[0, 0].sum() + p[1, 1:].sum()) / 2, abs=1e-6)
    entropies = -(p * np.log2(p)).sum((1, 2))
    assert joint.entropy == pytest.approx(entropies.mean(), abs=1e-5)
    sequential, joint = counted.guided_rows(model, 3.0)
    assert sequential.distance > 0.01
    assert joint.entropy < entropies.mean()


def test_changed_conditionals_are_compared_at_equal_entropy(model):
    changed, joint = counted.truncated_rows(model, lambda logits: ar.temperature(logits, 0.5))
    assert changed.entropy == pytest.approx(joint.entropy, abs=1e-3)
    assert changed.distance > 1e-3
    bits = counted.entropy_bits(counted.at_temperature(model.cond[0], jnp.asarray(0.3)))
    assert float(counted.temperature_of_entropy(model.cond[0], bits)) == pytest.approx(0.3, rel=1e-3)


def test_the_joint_at_low_temperatures_tends_to_its_most_probable_sequence(model):
    table = counted.temperature_table(model, [0.01, 1.0])
    cold, plain = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert cold["most probable sequence"] == pytest.approx(1, abs=1e-3)
    p = np.exp(np.asarray(model.cond))
    assert plain["most probable sequence"] == pytest.approx(p.max((1, 2)).mean(), abs=1e-6)
    assert plain["total variation"] == pytest.approx(0, abs=1e-6)
    right = [p[k].max() == p[k][[0] if k == 0 else [1, 2]].max() for k in (0, 1)]
    assert cold["accuracy, joint"] == pytest.approx(np.mean(right), abs=1e-3)


@pytest.mark.slow
def test_likelihood_matches_the_exact_density():
    out = succeeds("projects.ood.likelihood", "--points=20", "--tolerances=1e-3,1e-5", "--tangents=6")
    rows = re.findall(r"^(1e-0\d) +\d+ +([\d.e-]+) +(-?[\d.e-]+)$", out, re.MULTILINE)
    assert len(rows) == 4  # two densities and two tolerances
    for tolerance, error, bias in rows:
        assert float(error) < {"1e-03": 0.5, "1e-05": 0.01}[tolerance]
        assert abs(float(bias)) <= 1.1 * float(error)
