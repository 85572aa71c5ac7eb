"""Two processes with two devices each give the numbers of one with four, stop together, and lose nothing."""

import json
import signal

import numpy as np
import pytest
from programs import succeeds, wait_until
from robustness.together import end, start

from experiments.models.samples import PartialSamples
from experiments.training.writers import read_metrics


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.py"
    path.write_text("""
from experiments.configs.points import mixture_2d

def get_config():
    config = mixture_2d.get_config()
    config.network.update(features=8, blocks=1)
    config.training.update(steps=40, warmup_steps=4, batch_size=32, log_every=10, power_ema=(0.1,))
    config.training.update(sample_every=10**6, checkpoint_every=20)
    config.sampling.update(steps=2, batch_size=40)
    config.evaluation.update(num_samples=60, guidance_scales=(1.0,), bound_times=2)
    return config
""")
    return f"--config={path}"


def losses(workdir):
    rows = read_metrics(workdir / "metrics.jsonl")
    return np.array([[row["step"], next(v for k, v in row.items() if k.endswith("loss"))] for row in rows])


@pytest.mark.slow
def test_two_processes_stop_together_and_one_process_continues(tmp_path, config):
    workdir = tmp_path / "run"
    config = [config, f"--workdir={workdir}", "--config.evaluation.at_end=false"]
    longer = [*config, "--config.training.fsdp=2", "--config.training.steps=100000"]
    both = start("train", *longer)
    wait_until((workdir / "checkpoints" / "20").exists, *both)
    both[1].send_signal(signal.SIGTERM)  # not to the one that writes
    codes, (printed, nothing), errors = end(both)
    assert codes == [143, 143], errors
    assert nothing == ""
    stopped = int(printed.split("stopped at step ")[1].split()[0].replace(",", ""))
    assert (workdir / "checkpoints" / str(stopped)).is_dir()
    assert not (workdir / ".lock").exists()
    first = losses(workdir)
    assert json.loads((workdir / "config.json").read_text())["training"]["steps"] == 100000
    more = [*config, f"--config.training.steps={stopped + 20}", "--config.training.fsdp=4"]
    (code,), (printed,), errors = end(start("train", *more, processes=1, devices=4))
    assert code == 0, errors
    assert f"resuming  from step {stopped:,}" in printed
    np.testing.assert_array_equal(losses(workdir)[: len(first)], first)
    # two again, and the newest checkpoint is damaged: both use the one before
    newest = workdir / "checkpoints" / str(stopped + 20)
    for path in newest.glob("state/**/d/*"):
        path.write_bytes(path.read_bytes()[:-100])
    more[-2] = f"--config.training.steps={stopped + 30}"
    codes, (printed, _), errors = end(start("train", *more))
    assert codes == [0, 0], errors
    assert f"{newest} is broken" in errors[0]
    assert f"resuming  from step {stopped + 20:,}" not in printed
    assert (workdir / "checkpoints" / f"broken-{stopped + 20}").is_dir()
    assert losses(workdir)[-1][0] == stopped + 30


@pytest.mark.slow
def test_two_processes_train_sample_and_evaluate_as_one_with_four_devices(tmp_path, config):
    alone, together = tmp_path / "alone", tmp_path / "together"
    codes, (printed, nothing), errors = end(start("train", config, f"--workdir={together}", "--config.training.fsdp=2"))
    assert codes == [0, 0], errors
    assert nothing == ""
    assert printed.splitlines()[-1].endswith("report.html")
    (code,), _, errors = end(start("train", config, f"--workdir={alone}", processes=1, devices=4))
    assert code == 0, errors
    np.testing.assert_allclose(losses(together), losses(alone), rtol=1e-5)
    one, two = (sorted((folder / "snapshots").iterdir()) for folder in (alone, together))
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
    codes, (printed, _), errors = end(start("sample", *few))
    assert codes == [0, 0], errors
    assert "1 of 2 batches of samples were drawn before" in printed
    assert not (samples / "partial").exists()
    np.testing.assert_allclose(
        *(np.load(path)["x"] for path in (tmp_path / "one.npz", samples / "sample.npz")), rtol=1e-4, atol=1e-4
    )
