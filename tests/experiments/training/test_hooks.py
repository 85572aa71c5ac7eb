"""Hooks of the training loop: profiles, the limit of steps that are not finite, and signals of several processes."""

import contextlib
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import multihost_utils
from programs import error_of, give, separate_flags

from experiments.cli.endings import ProgramError
from experiments.training.hooks import (
    ASKED_AFTER,
    Profile,
    Signals,
    SkipLimit,
    Step,
    define_profile_flag,
    steps_to_profile,
)
from scorekit import training


@pytest.fixture
def steps(request):
    with separate_flags():
        define_profile_flag()
        give(profile_steps=request.param)
        yield request.param


@pytest.mark.parametrize(
    ("steps", "last", "expected"),
    [
        ("2:3", 5, [1, "start", 2, 3, "stop", 4, 5]),
        ("1:2", 3, ["start", 1, 2, "stop", 3]),
        ("2:30", 2, [1, "start", 2, "stop"]),
        ("3:30", 2, [1, 2]),
    ],
    indirect=["steps"],
    ids=["within the run", "from its first step", "beyond its end", "after its end"],
)
def test_the_named_steps_are_traced(steps, last, expected, tmp_path, monkeypatch, capsys):
    calls, folders = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: folders.append(folder) or calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    hook = Profile(tmp_path, *steps_to_profile())
    hook.start(SimpleNamespace(step=0))
    for step in range(1, last + 1):
        calls.append(step)
        hook.after(Step(step, step == last, None, jnp.ones(1), None))
    hook.close()
    assert (calls, folders) == (expected, [str(tmp_path / "profile")] * ("start" in expected))
    assert last < 5 or "profile of steps 2 to 3" in capsys.readouterr().out


@pytest.mark.parametrize("steps", ["3:2", "0:2", "5", "a:b", ""], indirect=True)
def test_two_steps_in_order_are_needed(steps):
    assert f"--profile_steps={steps}: must be two steps in order" in error_of(steps_to_profile)


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
    assert [step for step in range(1, 2 * ASKED_AFTER) if signals.stop(step)] == [ASKED_AFTER]
    assert asked == [0]
    with pytest.raises(SystemExit, match="143"):
        signals.leave(ASKED_AFTER)
    assert f"stopped at step {ASKED_AFTER} and saved" in capsys.readouterr().out
