"""Guidance and temperature of a model of sequences by particles: draws, their log-probabilities, and the table."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.sequences import joint as joint_sequences
from experiments.benchmarks.sequences.counted import of_conditionals
from experiments.cli.config import ConfigError
from experiments.data.display import Scorer
from experiments.models.sequences import Sequences
from scorekit import autoregressive as ar
from scorekit import metrics
from scorekit.guidance.sequences import guide_joint
from scorekit.networks import CausalWaveNet

V, LENGTH, CLASSES = 3, 3, 2


@pytest.fixture(scope="module")
def run():
    """A network of random parameters with coordinates as a map; the class seen is the first code."""
    network = CausalWaveNet(outputs=V, num_codes=V, num_classes=CLASSES, map_size=LENGTH, channels=4, layers=2, cycle=2)
    positions = np.eye(LENGTH, dtype=np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, LENGTH), int))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), s.dtype), shapes)
    measure = lambda x, labels: {"class accuracy": float(np.mean(x[:, 0] == labels)), "recall": 0.5}
    dataset = types.SimpleNamespace(
        num_classes=CLASSES,
        name="codes",
        from_model=lambda x: jnp.float32(x),
        scorer=lambda: Scorer({"class accuracy": 1.0, "recall": 1.0}, measure, ""),
        train={"x": rng.integers(0, V, (400, LENGTH)), "label": np.arange(400) % CLASSES},
    )
    return types.SimpleNamespace(
        model=Sequences(network, V, LENGTH, CLASSES, positions, None), dataset=dataset, params=params
    )


def table_of(run, label):
    """``log p(x | y)`` of every sequence."""
    every = np.stack(np.unravel_index(np.arange(V**LENGTH), (V,) * LENGTH), axis=1)
    labels = jnp.full(len(every), label)
    return ar.log_prob(joint_sequences.conditionals(run.model, run.params, labels), every).reshape((V,) * LENGTH)


def test_draws_have_the_integral_and_the_frequencies_of_the_counted_joint(run):
    cond, uncond = (table_of(run, label) for label in (0, CLASSES))
    integral = jax.nn.logsumexp(3.0 * cond - 2.0 * uncond)
    found = joint_sequences.make_draw(run, 64)(3.0, 400, 0)
    of_class = np.arange(400) % CLASSES == 0
    np.testing.assert_allclose(np.exp(found.log_normalizer[of_class] - integral).mean(), 1, atol=0.05)
    at = tuple(found.x[of_class].T)
    np.testing.assert_allclose(found.log_joint[of_class], (3.0 * cond - 2.0 * uncond)[at], atol=1e-4)
    first = np.exp(guide_joint(cond, uncond, 3.0).log_prob).sum((1, 2))
    np.testing.assert_allclose(np.bincount(at[0], minlength=V) / 200, first, atol=0.12)
    np.testing.assert_allclose(joint_sequences.log_integrals(found, np.arange(400) % CLASSES)[0], integral, atol=0.05)


def test_the_table_has_the_divergence_of_the_conditionals_and_the_entropy_of_the_joint(run):
    table = joint_sequences.joint_table(run, [0.5], [1, 64], 300, temperature=True)
    real, single, many = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    x, labels = run.dataset.train["x"].astype(np.float32), run.dataset.train["label"]
    width = 0.5 * np.sqrt(x.var(0).sum())
    vendi = [float(metrics.vendi_score(x[labels == k][:150], width)) for k in range(CLASSES)]
    assert real["Vendi score of a class"] == pytest.approx(np.mean(vendi), rel=1e-4)
    assert 1 < many["Vendi score of a class"] < real["Vendi score of a class"]  # of evenly drawn codes
    of: dict[str, list] = {"joint": [], "conditionals": [], "divergence": []}
    for label in range(CLASSES):
        log_p = table_of(run, label)
        joint = jax.nn.log_softmax(2.0 * log_p.ravel()).reshape(log_p.shape)
        changed = of_conditionals(log_p, lambda logits: ar.temperature(logits, 0.5))
        p, q = np.exp(joint), np.exp(changed)
        of["joint"].append(-(p * joint).sum() / np.log(2))
        of["conditionals"].append(-(q * changed).sum() / np.log(2))
        of["divergence"].append((q * (changed - joint)).sum() / np.log(2))
    assert single["bits per sequence"] == pytest.approx(np.mean(of["conditionals"]), abs=0.2)
    assert many["bits per sequence"] == pytest.approx(np.mean(of["joint"]), abs=0.2)
    assert single["bits to the joint"] == pytest.approx(np.mean(of["divergence"]), abs=0.1)
    assert 0 <= many["bits to the joint"] < 0.2 * single["bits to the joint"]


def test_a_diffusion_and_data_without_metrics_are_errors(run):
    diffusion = types.SimpleNamespace(model=run.model._replace(process=object()), dataset=run.dataset)
    with pytest.raises(ConfigError, match="--guided=runs/a: must be an autoregressive run, this one is a diffusion"):
        joint_sequences.check(diffusion, "runs/a")
    sounds = types.SimpleNamespace(model=run.model, dataset=types.SimpleNamespace(name="sounds", scorer=lambda: None))
    with pytest.raises(ConfigError, match="--guided=runs/a: must be a run of images, sounds has no metrics"):
        joint_sequences.check(sounds, "runs/a")
