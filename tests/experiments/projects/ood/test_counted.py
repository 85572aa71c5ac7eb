"""Distributions of short sequences that are counted out, and the exact log-likelihood."""

import json
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import give, succeeds

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


def test_the_most_probable_sequences_are_compared_with_real_ones(model):
    p = np.exp(np.asarray(model.cond))
    modes = [np.unravel_index(each.argmax(), (3, 3)) for each in p]
    train = {"x": np.array([modes[0], (0, 1), modes[1], modes[1]]), "label": np.array([0, 0, 1, 1])}
    run = types.SimpleNamespace(dataset=types.SimpleNamespace(train=train))
    table = counted.modes_table(model, run)  # type: ignore[arg-type]
    for k, row in enumerate(table.rows):
        found = dict(zip(table.header, row, strict=True))
        assert found["most probable codes"] == "{} {}".format(*modes[k])
        assert found["entropy, bits"] == pytest.approx(-(p[k] * np.log2(p[k])).sum(), rel=1e-5)
        assert found["of real data"] == pytest.approx(0.5 if k == 0 and modes[0] != (0, 1) else 1)


@pytest.mark.slow
def test_likelihood_matches_the_exact_density():
    sizes = ("--points=20", "--turns=1", "--tolerances=1e-3,1e-5", "--tangents=6")
    out = succeeds("projects.ood.likelihood", *sizes)
    rows = re.findall(r"^(\S.*?) +(1e-0\d) +\d+ +([\d.e-]+) +(-?[\d.e-]+) +\S", out, re.MULTILINE)
    assert len(rows) == 8  # two densities, two tolerances, and blocks or none
    for solver, tolerance, error, bias in rows:
        assert float(error) < {"1e-03": 0.5, "1e-05": 0.01}[tolerance], (solver, tolerance)
        assert abs(float(bias)) <= 1.1 * float(error)


def test_results_of_both_directions_are_compared_with_published_ones(load_program, tmp_path, monkeypatch, capsys):
    module = load_program("experiments.projects.ood.published")
    for name, (other, _) in module.SETS.items():
        (tmp_path / f"{name}_gaussian").mkdir()
        values = {f"{other}/variational bound": 0.9 if name == "fashion" else 0.6}
        (tmp_path / f"{name}_gaussian" / "ood.json").write_text(json.dumps(values))
    commands = []
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: commands.append(command))
    give(workdir=tmp_path, kind="gaussian")
    module.main(None)
    assert all("--config.kind=gaussian" in command for command in commands)
    assert re.search(r"^variational bound +0\.900 +0\.600 +0\.87 \(\+0\.03\)$", capsys.readouterr().out, re.MULTILINE)
