"""Samples that are not finite are counted before they are rounded, clipped, written or scored."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from programs import SoundsInMemory, fails

from experiments.configs.points import mixture_2d
from experiments.data.images import ImageSet
from experiments.data.sources import Arrays
from experiments.models.samples import NotFinite, check_samples
from experiments.tasks.diffusion import guidance
from experiments.tasks.diffusion.build import build_rules
from scorekit import schedules
from scorekit.audio import representations
from scorekit.typing import Prediction

BAD = (np.nan, np.inf, -np.inf)


class Squares(ImageSet):
    def open(self):
        one = Arrays("squares", 17, np.zeros((1, 2, 2, 1), np.uint8), np.zeros(1, np.int32), 2)
        return one, one


def sounds():
    rate, length = 1000, 64
    return SoundsInMemory("tone", np.full((1, length), 0.1), [0], 2, rate, representations.waveform())


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize(("dataset", "shape"), [(Squares(), (3, 2, 2, 1)), (sounds(), (3, 64, 1))])
def test_data_of_a_sample_that_is_not_finite_are_nan(dataset, shape, bad):
    x = np.full(shape, 0.25, np.float32)
    x[1].flat[0] = bad
    found = np.asarray(dataset.from_model(jnp.asarray(x)))
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()
    with pytest.raises(NotFinite, match=r"1 of 3 samples are not finite \(guidance scale 4\); nothing was written"):
        check_samples(found, "guidance scale 4")


@pytest.mark.parametrize("wrapper", ["static_threshold", "dynamic_threshold"])
def test_thresholding_does_not_hide_an_overflow(wrapper):
    config = mixture_2d.get_config()
    config.guidance = ("classifier_free", wrapper)
    cond, uncond = (lambda x, t, c=c: Prediction(c + 0 * x, x) for c in (10.0, 0.0))
    parts = guidance.Parts(schedules.Cosine(), cond, uncond, lambda label: cond)
    x0 = jax.jit(lambda scale, x: guidance.compose(build_rules(config), parts, scale)(x, jnp.float32(0.5)).x0)
    x = np.ones((2, 3), np.float32)
    assert np.isfinite(x0(np.float32(2), x)).all()
    assert np.isnan(x0(np.float32(1e38), x)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "flags", "written"),
    [
        ("sample", "--num=5", "samples"),
        ("edit", "--num=5 --task=invert", "edits"),
        ("evaluate", "--config.evaluation.num_samples=5 --config.evaluation.guidance_scales=1e38", "evaluation_6.json"),
        ("tune", "--draws=4 --batch_size=4 --fine_steps=8", "grid.json"),
    ],
)
def test_a_program_counts_them_and_writes_nothing(digits_run, tmp_path, program, flags, written):
    workdir = shutil.copytree(digits_run, tmp_path / "run")
    scale = [] if program == "evaluate" else ["--config.sampling.guidance_scale=1e38"]
    err = fails(program, f"--workdir={workdir}", *scale, *flags.split(), at_once=False)
    assert "are not finite (guidance scale 1e+38" in err
    assert err.splitlines()[-1].startswith("error: 5 of 5") or program == "tune"
    found = workdir / written
    assert not list(found.glob("*")) if found.is_dir() else not found.exists()
