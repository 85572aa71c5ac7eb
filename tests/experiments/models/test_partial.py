"""Samples of many batches continue where a program was killed, and are those of one that was not."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from programs import end, fails, overridden, run, start, succeeds, wait_until

from experiments.configs.points import mixture_2d
from experiments.models.samples import PartialSamples, digest_of

FEW = ["--config.sampling.steps=2", "--config.sampling.batch_size=8"]
NUM = "--num=28"  # three batches and a half


class Killed(Exception):
    """In place of the end of a process."""


class Drawn:
    """The batches that were drawn, by number; once there are ``most``, the program ends."""

    def __init__(self):
        self.batches: list[int] = []
        self.most = 100

    def counted(self, draw):
        def counting(i):
            if len(self.batches) == self.most:
                raise Killed
            self.batches.append(i)
            return draw(i)

        return counting

    def anew(self, most=100):
        self.batches, self.most = [], most


@pytest.fixture
def drawn(monkeypatch):
    found, original = Drawn(), PartialSamples.batches
    counted = lambda self, digest, num, size, draw: original(self, digest, num, size, found.counted(draw))
    monkeypatch.setattr(PartialSamples, "batches", counted)
    return found


@pytest.fixture
def workdir(ring_run, tmp_path):
    return shutil.copytree(ring_run, tmp_path / "run")


def sample(workdir, *arguments):
    out = succeeds("sample", f"--workdir={workdir}", NUM, *FEW, *arguments)
    with np.load(workdir / "samples" / "sample.npz") as archive:
        return archive["x"], out


def files_of(workdir):
    return sorted((workdir / "samples").glob("partial/*/batch_*.npy"))


def test_batches_that_are_damaged_are_drawn_again(tmp_path, capsys):
    drawn = Drawn()
    drawn.anew(most=3)
    draw = drawn.counted(lambda i: np.full((2, 3), i, np.float32))
    folder = tmp_path / "partial"
    with pytest.raises(Killed):
        PartialSamples(folder).batches("a", 4, 2, draw)
    first, second, third = sorted(folder.glob("a/*"))
    np.testing.assert_array_equal(np.load(third), np.full((2, 3), 2))
    first.write_bytes(first.read_bytes()[:-1])
    content = bytearray(second.read_bytes())
    content[140] ^= 1  # in the array
    second.write_bytes(content)
    drawn.anew()
    capsys.readouterr()
    kept = PartialSamples(folder)
    np.testing.assert_array_equal(kept.batches("a", 4, 2, draw), [draw(i) for i in range(4)])
    assert drawn.batches[:3] == [0, 1, 3]
    printed, bar = capsys.readouterr()
    damaged = [f"{path} is damaged: its batch is drawn again" for path in (first, second)]
    assert printed.splitlines() == [*damaged, f"1 of 4 batches of samples were drawn before: {folder / 'a'}"]
    assert bar.splitlines()[-1].startswith("sampling 4/4 (100%)")
    PartialSamples(folder).batches("b", 4, 2, draw)  # of another program
    kept.remove()
    assert [path.name for path in folder.iterdir()] == ["b"]


@pytest.mark.slow
def test_only_missing_batches_are_drawn_and_another_seed_shares_none(workdir, drawn):
    expected, out = sample(workdir)
    assert drawn.batches == [0, 1, 2, 3]
    assert "drawn before" not in out
    assert not (workdir / "samples" / "partial").exists()

    drawn.anew(most=3)
    with pytest.raises(Killed):
        sample(workdir)
    kept = files_of(workdir)
    assert [path.name for path in kept] == [f"batch_0000{i}.npy" for i in range(3)]
    np.testing.assert_array_equal(np.load(kept[2]), expected[16:24])

    drawn.anew()
    err = fails("sample", f"--workdir={workdir}", NUM, *FEW, "--config.sampling.guidance_scale=1e38", at_once=False)
    assert "28 of 28 samples are not finite" in err  # and are not kept
    drawn.anew()
    _, out = sample(workdir, "--seed=1")
    assert drawn.batches == [0, 1, 2, 3]
    assert "drawn before" not in out
    assert files_of(workdir) == kept

    drawn.anew()
    found, out = sample(workdir)
    assert drawn.batches == [3]
    assert "3 of 4 batches of samples were drawn before" in out
    np.testing.assert_array_equal(found, expected)
    assert not (workdir / "samples" / "partial").exists()


@pytest.mark.slow
def test_evaluate_continues_at_the_guidance_scale_where_it_was_killed(workdir, drawn):
    fields = "evaluation.num_samples=28 evaluation.bound_times=2 evaluation.guidance_scales=1,2"
    arguments = [f"--workdir={workdir}", *FEW, *overridden(fields)]
    succeeds("evaluate", *arguments)
    result = workdir / "evaluation_1.json"
    expected = json.loads(result.read_text())
    result.unlink()
    drawn.anew(most=6)
    with pytest.raises(Killed):
        run("evaluate", *arguments)
    drawn.anew()
    out = succeeds("evaluate", *arguments)
    assert drawn.batches == [2, 3]
    assert "4 of 4 batches" in out
    assert "2 of 4 batches" in out
    assert json.loads(result.read_text()) == expected
    assert not (workdir / "samples" / "partial").exists()


@pytest.mark.slow
def test_a_process_that_is_killed_continues_with_the_same_samples(workdir, tmp_path):
    given = overridden("sampling.batch_size=1 sampling.steps=30")
    command = ["sample", f"--workdir={workdir}", "--num=400", *given]
    cache = {"SCOREKIT_CACHE": str(tmp_path / "cache")}
    started = start(*command, **cache)
    wait_until(lambda: len(files_of(workdir)) >= 3, started)
    started.kill()
    started.communicate()
    before = len(files_of(workdir))
    assert 3 <= before < 400
    code, out, err = end(start(*command, **cache))
    assert code == 0, err
    assert f"{before} of 400 batches of samples were drawn before" in out
    assert "sampling 400/400 (100%)" in err
    assert not (workdir / "samples" / "partial").exists()
    succeeds(*command, f"--out={tmp_path / 'other'}")
    with np.load(workdir / "samples" / "sample.npz") as ours, np.load(tmp_path / "other.npz") as undisturbed:
        np.testing.assert_array_equal(ours["x"], undisturbed["x"])


def test_the_digest_is_of_fields_and_values():
    config, again = mixture_2d.get_config(), mixture_2d.get_config()
    values = {"labels": jnp.arange(3), "scale": None}
    first = digest_of(config.to_dict(), 0, values)
    again.training.steps += 1
    assert digest_of(again.to_dict(), 0, {**values, "labels": np.arange(3, dtype=np.int32)}) == first
    again.sampling.steps += 1
    floats, other = {"labels": jnp.arange(3.0)}, {**values, "labels": jnp.arange(3) + 1}
    others = [digest_of(again.to_dict(), 0, values), digest_of(config.to_dict(), 1, values)]
    assert len({first, *others, digest_of(config.to_dict(), 0, floats), digest_of(config.to_dict(), 0, other)}) == 5
