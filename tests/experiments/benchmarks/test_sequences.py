"""Sequences: distributions that are counted out, guidance and temperature by particles, and bits of the same data."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.benchmarks.sequences import counted, trap
from experiments.benchmarks.sequences import joint as joint_sequences
from experiments.benchmarks.sequences.bits import check_same_data
from experiments.benchmarks.sequences.counted import of_conditionals
from experiments.cli.command_line import override
from experiments.cli.config import ConfigError
from experiments.configs.images import digits
from experiments.configs.sequences import digits_masked, digits_pixels
from experiments.data.display import Scorer
from experiments.models.sequences import Sequences
from scorekit import autoregressive as ar
from scorekit import metrics
from scorekit.guidance.sequences import guide_joint
from scorekit.networks import CausalWaveNet


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


V, LENGTH, CLASSES = 3, 3, 2


@pytest.fixture(scope="module")
def run():
    """A network of random parameters with coordinates as a map; the class seen is the first code."""
    network = CausalWaveNet(outputs=V, num_codes=V, num_classes=CLASSES, map_size=LENGTH, channels=4, layers=2, cycle=2)
    positions = np.eye(LENGTH, dtype=np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, LENGTH), int))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), s.dtype), shapes)
    measure = lambda x, labels: {"class accuracy": float(np.mean(x[:, 0] == labels)), "precision": 1.0, "recall": 0.5}
    dataset = types.SimpleNamespace(
        num_classes=CLASSES,
        name="codes",
        from_model=lambda x: jnp.float32(x),
        scorer=lambda: Scorer({"class accuracy": 1.0, "recall": 1.0}, measure, ""),
        evaluation_batch=64,
        test={"x": rng.integers(0, V, (20, LENGTH)), "label": np.arange(20) % CLASSES},
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_information_of_samples_beams_and_decisions_is_that_of_the_counted_model(run, tmp_path):
    rows = trap.measure(run, 400, 2)
    log_p = np.stack([np.ravel(table_of(run, label)) for label in range(CLASSES)])
    p = np.exp(log_p)
    entropy, epsilon = trap.entropy_band(rows)
    assert entropy == pytest.approx(-(p * log_p).sum(axis=1).mean(), abs=0.1)
    assert epsilon == pytest.approx(np.sqrt((p * log_p**2).sum(axis=1).mean() - entropy**2), abs=0.15)
    found = {(row.rule, row.setting): np.mean([x.mean() for x in row.information]) for row in rows}
    assert found["beam search", "16"] == pytest.approx(-log_p.max(axis=1).mean(), abs=1e-4)
    assert found["temperature", "0.3"] < found["temperature", "0.7"] < entropy < found["temperature", "1.5"]
    assert ("minimum Bayes risk", "distance") in found
    header, shown, caption = trap.table("runs", rows, 400, 2)
    row = dict(zip(header, next(cells for cells in shown if cells[0] == "temperature 1"), strict=True))
    assert row["from H, in ε"] == "+0.00"
    assert f"H = {entropy:.1f} nats" in caption
    assert trap.figure(tmp_path / "trap.png", "runs", rows).stat().st_size > 1000
    assert rows[-1].metrics[0]["recall"] == 1.0


def test_a_diffusion_and_data_without_metrics_are_errors(run):
    diffusion = types.SimpleNamespace(model=run.model._replace(process=object()), dataset=run.dataset)
    with pytest.raises(ConfigError, match="--guided=runs/a: must be an autoregressive run, this one is a diffusion"):
        joint_sequences.check(diffusion, "runs/a")
    sounds = types.SimpleNamespace(model=run.model, dataset=types.SimpleNamespace(name="sounds", scorer=lambda: None))
    with pytest.raises(ConfigError, match="--trap: must be autoregressive runs, this one is a diffusion"):
        trap.measure(diffusion, 10, 1)
    with pytest.raises(ConfigError, match="--guided=runs/a: must be a run of images, sounds has no metrics"):
        joint_sequences.check(sounds, "runs/a")


def changed(module, *overrides):
    config = module.get_config()
    for text in overrides:
        override(config, *text.split("=", 1))
    return config


def test_models_and_orders_may_differ():
    same = [digits_pixels.get_config(), changed(digits_masked, "order.name=subscale", "seed=3"), digits.get_config()]
    check_same_data(["a", "b", "c"], same)


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        (digits_masked, "data.set=mnist", "config.data.set=sklearn_digits, this one has mnist"),
        (digits_masked, "data.image_size=4", "config.data.image_size=None, this one has 4"),
        (digits, "data.test_split=test[:100]", "config.data.test_split=test, this one has test[:100]"),
        (digits, "conditions.map.name=pixelated", "config.conditions.map.name=none, this one has pixelated"),
        (digits_masked, "symbols.name=codes", "config.symbols.name=pixels, this one has codes"),
    ],
)
def test_another_data_set_split_or_condition_is_an_error(module, text, words):
    with pytest.raises(ConfigError) as caught:
        check_same_data(["a", "b"], [digits_pixels.get_config(), changed(module, text)])
    assert str(caught.value) == f"--runs=b: must be of the data of a, with {words}"
