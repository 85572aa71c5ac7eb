"""Distilling and tuning with two processes give the numbers of one."""

import functools
import json

import jax
import numpy as np
import pytest
from programs import overridden, succeeds
from robustness.processes import newest
from robustness.together import end, start

DISTIL = """
    distillation.steps=1 training.steps=4 training.warmup_steps=1 training.batch_size=16 training.sample_every=100
    training.checkpoint_every=2 sampling.batch_size=8 evaluation.num_samples=16 evaluation.bound_times=1
"""
TUNE = ["--batch_size=8", "--draws=16", "--updates=4", "--starts=1", "--fine_steps=8"]


@pytest.mark.slow
def test_two_processes_distil_the_student_of_one(ring_run, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    command = [f"--config=experiments/configs/distil.py:{ring_run},consistency", *overridden(DISTIL)]
    both = start("train", *command, f"--workdir={together}", "--config.training.fsdp=2", devices=1)
    codes, (printed, nothing), errors = end(both)
    assert codes == [0, 0], errors
    assert nothing == ""
    assert str(together) in printed.splitlines()[-1]
    succeeds("train", *command, f"--workdir={alone}")
    (step, one), (same_step, two) = newest(alone), newest(together)
    assert step == same_step == 4
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert not (together / ".lock").exists()


@pytest.mark.slow
def test_two_processes_tune_the_grid_of_one(ring_run, tmp_path):
    alone, together = tmp_path / "alone.json", tmp_path / "together.json"
    given = overridden("sampling.steps=3 sampling.solver.name=adams_bashforth")
    command = [f"--workdir={ring_run}", *TUNE, *given]
    codes, (printed, nothing), errors = end(start("tune", *command, f"--out={together}", devices=1))
    assert codes == [0, 0], errors
    assert nothing == ""
    assert str(together) in printed.splitlines()[-1]
    succeeds("tune", *command, f"--out={alone}")
    one, two = (json.loads(path.read_text()) for path in (alone, together))
    text, numbers = ({k: v for k, v in one.items() if isinstance(v, str) is kind} for kind in (True, False))
    assert {name: two[name] for name in text} == text
    close = functools.partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-4)
    jax.tree.map(close, {name: two[name] for name in numbers}, numbers)
