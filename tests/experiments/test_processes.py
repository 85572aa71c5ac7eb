"""Two processes with two devices each give the numbers of one with four, stop together, and lose nothing."""

import json
import signal

import numpy as np
import pytest
from programs import end, end_two, newest, overridden, start, start_two, succeeds, wait_until

from experiments.models.samples import PartialSamples
from experiments.training.writers import read_metrics

DISTIL = """
    distillation.steps=1 training.steps=4 training.warmup_steps=1 training.batch_size=16 training.sample_every=100
    training.checkpoint_every=2 sampling.batch_size=8 evaluation.num_samples=16 evaluation.at_end=false
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("""
from experiments.configs.points import mixture_2d

def get_config():
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.training.update(steps=40, warmup_steps=4, batch_size=32, log_every=10, power_ema=(0.1,))
    config.training.update(sample_every=10**6, checkpoint_every=10)
    config.sampling.update(steps=2, batch_size=40)
    config.evaluation.update(num_samples=60, guidance_scales=(1.0,), bound_times=2)
    return config
""")
    return f"--config={path}"


def losses(workdir):
    rows = read_metrics(workdir / "metrics.jsonl")
    return np.array([[row["step"], next(v for k, v in row.items() if k.endswith("loss"))] for row in rows])


def checkpoints(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal())


@pytest.mark.slow
def test_two_processes_stop_together_and_one_process_continues(tmp_path, config):
    workdir = tmp_path / "run"
    config = [config, f"--workdir={workdir}", "--config.evaluation.at_end=false"]
    both = start_two("train", *config, "--config.training.fsdp=2", "--config.training.steps=100000")
    wait_until((workdir / "checkpoints" / "20").exists, *both)
    both[1].send_signal(signal.SIGTERM)  # not to the one that writes
    codes, (printed, nothing), errors = end_two(both)
    assert codes == [143, 143], errors
    assert nothing == ""
    stopped = int(printed.split("stopped at step ")[1].split()[0].replace(",", ""))
    assert checkpoints(workdir)[-1] == stopped
    assert not (workdir / ".lock").exists()
    first = losses(workdir)
    more = [*config, f"--config.training.steps={stopped + 20}", "--config.training.fsdp=4"]
    code, printed, error = end(start("train", *more, JAX_NUM_CPU_DEVICES="4"))
    assert code == 0, error
    assert f"resuming  from step {stopped:,}" in printed
    np.testing.assert_array_equal(losses(workdir)[: len(first)], first)


@pytest.mark.slow
def test_two_processes_one_of_which_is_killed_train_sample_and_evaluate_as_one_with_four_devices(tmp_path, config):
    """The other process says why it ends; the newest checkpoint is then damaged, and both continue the one before."""
    alone, together = tmp_path / "alone", tmp_path / "together"
    command = ["train", config, f"--workdir={together}", "--config.training.fsdp=2"]
    both = start_two(*command)
    wait_until((together / "checkpoints" / "20").exists, *both)
    both[1].kill()
    codes, _, errors = end_two(both)
    assert codes == [1, -signal.SIGKILL], errors
    assert "error: another process of this program has ended" in errors[0].splitlines()[-1]
    *_, before, last = checkpoints(together)
    for path in (together / "checkpoints" / str(last)).glob("state/**/d/*"):
        path.write_bytes(path.read_bytes()[:-100])
    codes, (printed, nothing), errors = end_two(start_two(*command))
    assert codes == [0, 0], errors
    assert f"checkpoints/{last} is broken" in errors[0]
    assert f"resuming  from step {before}" in printed
    assert nothing == ""
    assert printed.splitlines()[-1].endswith("report.html")
    code, _, error = end(start("train", config, f"--workdir={alone}", JAX_NUM_CPU_DEVICES="4"))
    assert code == 0, error
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-5)
    one, two = (sorted((folder / "snapshots").glob("[!.]*")) for folder in (alone, together))
    assert [path.name for path in one] == [path.name for path in two]
    assert len(one) == 20
    for a, b in zip(one, two, strict=True):
        a, b = np.load(a), np.load(b)
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-5)
    one, two = (json.loads((folder / "evaluation.json").read_text()) for folder in (alone, together))
    np.testing.assert_allclose([*two.values()], [*one.values()], rtol=1e-3, atol=1e-3)
    # what two processes have saved, one opens; what one has drawn before it was killed, two continue
    few = [f"--workdir={together}", "--num=10", "--config.sampling.batch_size=8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartialSamples, "remove", lambda self: None)
        succeeds("sample", *few)
    samples = together / "samples"
    (last,) = samples.glob("partial/*/batch_00001.npy")
    last.unlink()
    (samples / "sample.npz").rename(tmp_path / "one.npz")
    codes, (printed, _), errors = end_two(start_two("sample", *few))
    assert codes == [0, 0], errors
    assert "1 of 2 batches of samples were drawn before" in printed
    assert not (samples / "partial").exists()
    drawn = (np.load(path)["x"] for path in (tmp_path / "one.npz", samples / "sample.npz"))
    np.testing.assert_allclose(*drawn, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_two_processes_distil_the_student_of_one(ring_run, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    command = ["train", f"--config=experiments/configs/distil.py:{ring_run},consistency", *overridden(DISTIL)]
    codes, _, errors = end_two(start_two(*command, f"--workdir={together}", "--config.training.fsdp=2", devices=1))
    assert codes == [0, 0], errors
    succeeds(*command, f"--workdir={alone}")
    (step, one), (same_step, two) = newest(alone), newest(together)
    assert step == same_step == 4
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
