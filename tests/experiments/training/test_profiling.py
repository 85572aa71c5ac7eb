"""``--profile_steps`` traces the steps that it names, and says what it takes."""

import jax
import jax.numpy as jnp
import pytest
from programs import error_of, give, separate_flags

from experiments.training import profiling


@pytest.fixture
def steps(request):
    with separate_flags():
        profiling.define_flag()
        give(profile_steps=request.param)
        yield request.param


@pytest.mark.parametrize(
    ("steps", "last", "expected"),
    [("2:3", 5, [1, "start", 2, 3, "stop", 4, 5]), ("2:30", 2, [1, "start", 2, "stop"])],
    indirect=["steps"],
    ids=["within the run", "beyond its end"],
)
def test_the_named_steps_are_traced(steps, last, expected, tmp_path, monkeypatch, capsys):
    calls, folders = [], []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: folders.append(folder) or calls.append("start"))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    with profiling.Profile(tmp_path) as profile:
        for step in range(1, last + 1):
            profile.before(step)
            calls.append(step)
            profile.after(step, jnp.ones(1))
    assert (calls, folders) == (expected, [str(tmp_path / "profile")])
    assert last < 5 or "profile of steps 2 to 3" in capsys.readouterr().out


@pytest.mark.parametrize("steps", ["3:2", "0:2", "5", "a:b", ""], indirect=True)
def test_two_steps_in_order_are_needed(steps):
    assert f"--profile_steps={steps}: must be two steps in order" in error_of(profiling.wanted)
