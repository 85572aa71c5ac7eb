"""Hooks of the training loop: the limit of steps that are not finite, and signals of several processes."""

import contextlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils

from experiments.cli.endings import ProgramError
from experiments.training.hooks import Step
from experiments.training.hooks.signals import EVERY, Signals
from experiments.training.hooks.skip_limit import SkipLimit
from scorekit import training


@pytest.mark.parametrize(("limit", "ends_at"), [(3, 9), (12, 20), (25, None)])
def test_steps_that_are_not_finite_end_the_training(limit, ends_at):
    """Losses from the fifth step on are not, of a state that also carries the count over a checkpoint."""
    optimizer = optax.sgd(0.1)
    step = training.make_train_step(lambda key, batch: batch, lambda w, batch: (w * batch["x"], {}), optimizer)
    state, hook = training.init_state(jax.random.key(0), jnp.float32(1), optimizer, ()), SkipLimit(limit)
    hook.start(state)
    for number in range(1, 21):
        state, metrics = step(state, {"x": np.full(8, math.nan if number >= 5 else 0.0, np.float32)})
        words = f"config.training.skip_limit={limit}: the loss or its gradient was not finite in {number - 4} steps"
        with pytest.raises(ProgramError, match=words) if number == ends_at else contextlib.nullcontext():
            hook.after(Step(number, number == 20, state, metrics, None))
        if number == ends_at:
            break


def test_a_signal_counts_at_once_in_one_process():
    received = [None]
    signals = Signals(lambda: received[0])
    assert not signals.stop(1)
    signals.leave(1)
    received[0] = 15
    assert signals.stop(2)


def test_several_processes_agree_on_a_signal_every_few_steps(monkeypatch, capsys):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    others, asked = [0], []
    gather = lambda number: asked.append(int(number)) or np.array([number, others[0]])
    monkeypatch.setattr(multihost_utils, "process_allgather", gather)
    signals = Signals(lambda: None)
    others[0] = 15
    assert [signals.stop(step) for step in range(1, 2 * EVERY)] == [step == EVERY for step in range(1, 2 * EVERY)]
    assert asked == [0]
    with pytest.raises(SystemExit, match="143"):
        signals.leave(EVERY)
    assert f"stopped at step {EVERY} and saved" in capsys.readouterr().out
