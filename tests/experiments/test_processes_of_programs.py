"""Distilling with two processes gives the numbers of one."""

import numpy as np
import pytest
from programs import overridden, succeeds
from robustness.processes import newest
from robustness.together import end, start

DISTIL = """
    distillation.steps=1 training.steps=4 training.warmup_steps=1 training.batch_size=16 training.sample_every=100
    training.checkpoint_every=2 sampling.batch_size=8 evaluation.num_samples=16 evaluation.bound_times=1
"""


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
