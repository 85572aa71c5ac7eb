"""``--profile_steps`` traces the steps that it names, and says what it takes."""

import jax
import jax.numpy as jnp
import pytest
from programs import give, separate_flags

from experiments.cli.config import ConfigError
from experiments.training import profiling


@pytest.fixture
def steps(request):
    with separate_flags():
        profiling.define_flag()
        give(profile_steps=request.param)
        yield request.param


@pytest.mark.parametrize("steps", ["2:3"], indirect=True)
def test_the_named_steps_are_traced(steps, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append(("start", folder)))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    with profiling.Profile(tmp_path) as profile:
        for step in range(1, 6):
            profile.before(step)
            calls.append(step)
            profile.after(step, jnp.ones(1))
    assert calls == [1, ("start", str(tmp_path / "profile")), 2, 3, "stop", 4, 5]
    assert "profile of steps 2 to 3" in capsys.readouterr().out


@pytest.mark.parametrize("steps", ["2:30"], indirect=True)
def test_a_run_that_ends_early_ends_its_trace(steps, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    with profiling.Profile(tmp_path) as profile:
        profile.before(2)
    assert calls == ["start", "stop"]


@pytest.mark.parametrize("steps", ["3:2", "0:2", "5", "a:b", ""], indirect=True)
def test_two_steps_in_order_are_needed(steps):
    with pytest.raises(ConfigError, match=f"--profile_steps={steps}: must be two steps in order"):
        profiling.wanted()
