"""Each stage of a cascade of captioned pictures is trained by one command, and pictures are drawn through all."""

import json

import numpy as np
import pytest
from programs import run

from scorekit.training import restore_extra

UPPER = (
    "--config.data.image_size=16",
    "--config.data.image_crop=8",
    "--config.data.map.name=average_pool",
    "--config.loss.map_noise=0.5",
    "--config.loss.map_dropout=0.0",
    "--config.sampling.keep_map=True",
    "--config.sampling.map_noise=0.1",
    "--config.sampling.guidance_scale=1.0",
    "--config.evaluation.guidance_scales=1.0,",
)
"""From the smoke test of a base to a stage that enlarges, on crops."""


@pytest.fixture(scope="module")
def trained(runs, tmp_path_factory):
    """The folder with a base, a stage that enlarges and a decoder."""
    root = tmp_path_factory.mktemp("trained")
    encoder = f"--config.data.embeddings.encoder={runs('contrastive')}"
    for name, module, flags in (
        ("base", "smoke", ()),
        ("upper", "smoke", UPPER),
        ("decoder", "smoke_decoder", (encoder,)),
    ):
        given = {"path": runs.root / "pictures", "captions.encoder": runs.root / "encoder.npz"}
        flags += tuple(f"--config.data.{field}={value}" for field, value in given.items())
        config = f"--config=experiments/configs/text/{module}.py"
        code, _, err = run("train", config, f"--workdir={root / name}", "--config.evaluation.num_samples=8", *flags)
        assert code == 0, err
    return root


@pytest.mark.slow
def test_every_stage_is_trained_and_evaluated_by_one_command(trained):
    for name in ("base", "upper", "decoder"):
        folder = trained / name
        assert np.isfinite(json.loads((folder / "evaluation.json").read_text())["bound/bits per dim"]), name
        saved = restore_extra(folder / "checkpoints") or {}
        assert saved["weights"]["data.tokens.name"] == "captions"
        assert ("encoder" in saved) == (name == "decoder")
        assert "<img" in (folder / "report.html").read_text()
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        losses = [line["train/loss"] for line in lines if "train/loss" in line]
        assert losses, name
        assert np.isfinite(losses).all(), name


@pytest.mark.slow
def test_pictures_are_drawn_through_all_trained_stages(runs, trained, tmp_path):
    drawn = {}
    for name, prior in (("base", ()), ("decoder", (f"--prior={runs('prior')}",))):
        code, _, err = run("text.draw", f"--stages={trained / name},{trained / 'upper'}", *prior, "--num=2",
                           "--caption=a red square", f"--out={tmp_path / name}")  # fmt: skip
        assert code == 0, err
        found = np.load(tmp_path / f"{name}.npz")
        assert (found["stage_0"].shape, found["x"].shape) == ((2, 8, 8, 3), (2, 16, 16, 3))
        assert np.isfinite(found["x"]).all()
        drawn[name] = found["x"]
    assert np.abs(drawn["base"] - drawn["decoder"]).max() > 0
