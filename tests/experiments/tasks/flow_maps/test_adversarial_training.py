"""The adversarial term of distribution matching: which parameters it trains, its features, and the guard."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.configs.points import mixture_2d
from experiments.tasks.flow_maps import adversarial, students
from experiments.tasks.flow_maps.distillation import facts
from scorekit import training

CONFIG = mixture_2d.get_config()
CONFIG.network.update(features=8, blocks=1)


def with_term(**values):
    options = students.with_fields(CONFIG.copy_and_resolve_references(), "matching").distillation
    options.adversarial.update(weight=0.5, **values)
    return options


def task_of(teacher, options, **of_training):
    model, dataset, params = teacher.model, teacher.dataset, teacher.params
    config = CONFIG.copy_and_resolve_references()
    config.training.update(warmup_steps=0, batch_size=8, **of_training)
    ts = students.flow_grid(model.schedule, 1)
    return students.matching(
        model, dataset, params, lambda given: model.denoiser(params, given), ts, options, config.training
    )


def randomised(head):
    """The parameters of a discriminator, whose logits are constant at first, with noise."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + jnp.asarray(0.1 * rng.normal(size=x.shape), x.dtype), head)


@pytest.mark.slow
def test_share_of_the_discriminators_gradient_that_reaches_the_fake_network(teacher):
    model, params = teacher.model, teacher.params
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)), jnp.float32)

    def slope(share, **values):
        options = with_term(shared=share, penalty=0.0, **values).adversarial
        adversary = adversarial.build(model, params, options)
        given = {"discriminator": randomised(adversary.init(jax.random.key(0)))}
        batch = {"conditions": {"labels": jnp.arange(4) % 2}, "x": x, **adversary.prepare(jax.random.key(1), x)}
        run = lambda fake: adversary.discriminator({**given, "fake": fake}, batch, 0.5 * x)[0].mean()
        return jax.jit(jax.grad(run))(params)

    some, more = slope(0.25, features="fake"), slope(0.5, features="fake")
    assert optax.tree.norm(some) > 1e-4
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-4, atol=1e-7), some, more)
    assert optax.tree.norm(slope(0.5)) == 0  # the features of the teacher


@pytest.mark.slow
def test_balanced_term_is_a_share_of_the_length_of_the_gradient_of_matching(teacher):
    """Of a matching loss with gradient m, a balanced weight w gives ``m + w |m| a / |a|`` for each sample."""
    model, params = teacher.model, teacher.params
    options = with_term(balanced=True)
    adversary = adversarial.build(model, params, options.adversarial)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)), jnp.float32)
    head = randomised(adversary.init(jax.random.key(0)))
    batch = {"conditions": {"labels": jnp.arange(4) % 2}, "x": x, **adversary.prepare(jax.random.key(1), x)}
    pull = jnp.array([[3.0, 4.0], [1.0, 0.0], [0.0, 0.2], [1.0, 1.0]])

    def run(x, head):
        return adversary.generator({"discriminator": head}, batch, x, lambda x: jnp.sum(pull * x, -1)).sum()

    of_samples, of_head = jax.jit(jax.grad(run, argnums=(0, 1)))(x, head)
    expected = 0.5 * jnp.linalg.norm(pull, axis=1)
    np.testing.assert_allclose(jnp.linalg.norm(of_samples - pull, axis=1), expected, rtol=1e-2)
    assert optax.tree.norm(of_head) == 0  # the term of the student does not train the discriminator


@pytest.mark.slow
def test_discriminator_continues_from_a_checkpoint_and_explodes_into_a_skipped_step(teacher, tmp_path):
    """Saved with its optimiser; the guard counts the step and leaves student, fake network and discriminator alone."""
    task = task_of(teacher, with_term(penalty=1.0))
    step = training.make_train_step(task.prepare, task.loss, task.optimizer)
    fresh = lambda: training.init_state(jax.random.key(0), jax.tree.map(jnp.array, task.params), task.optimizer)
    batches = [teacher.dataset.batch(0, n, 8) for n in range(3)]
    equal = lambda a, b: chex.assert_trees_all_equal(jax.tree.map(np.array, a), b)
    state = fresh()
    for batch in batches[:2]:  # the head starts at zero, and its hidden layer moves from the second step on
        state, metrics = step(state, batch)
    assert all(np.isfinite(value).all() for value in metrics["aux"].values())
    with training.Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(2, state)
        checkpoints.wait()
        restored = checkpoints.restore_latest(fresh()).state
    moved = optax.tree.sub(restored.params["discriminator"], fresh().params["discriminator"])
    assert min(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(moved["params"]["norm_out"])) > 0
    keyless = lambda state: (state.params, state.opt_state, state.step)
    without_stop, _ = step(state, batches[2])
    continued, _ = step(restored, batches[2])
    equal(keyless(continued), jax.tree.map(np.array, keyless(without_stop)))

    blown = jax.tree.map(lambda leaf: leaf + 1e30, continued.params["discriminator"])
    before = jax.tree.map(np.array, {**continued.params, "discriminator": blown})
    state, metrics = step(dataclasses.replace(continued, params=jax.tree.map(jnp.array, before)), batches[0])
    assert int(state.skipped) == 1
    assert not np.isfinite(metrics["grad_norm"])
    equal(state.params, before)


def test_default_layer_is_the_deepest_and_others_are_named():
    shapes = {
        "input": (2, 8, 8, 4),
        "middle": (2, 4, 4, 8),
        "middle/conv": (2, 2, 2, 8),
        "up": (2, 4, 4, 8),
        "time": (2, 16),
        "wide": (2, 8, 8, 4),
        "output": (2, 8, 8, 1),
    }
    assert adversarial._deepest(shapes, 3) == "up"
    flat = {"input": (2, 8), "close_0": (2, 8), "norm_out": (2, 8), "output": (2, 2)}
    assert adversarial._deepest(flat, 1) == "norm_out"


def test_facts_of_a_student_without_the_term_are_those_of_older_students():
    options = students.with_fields(CONFIG.copy_and_resolve_references(), "matching").distillation
    assert sorted(facts(options)) == [f"config.distillation.{name}" for name in ("student_rate", "t_max", "t_min")]
    options.adversarial.weight = 0.1
    assert facts(options)["config.distillation.adversarial.form"] == "softplus"
