"""An autoencoder from a shell, and the programs on a model of its latents."""

import numpy as np
import pytest
from programs import run


@pytest.mark.slow
def test_autoencoder_is_trained_and_a_model_of_its_latents_is_sampled_and_evaluated(tmp_path):
    one, two = f"--workdir={tmp_path}/one", f"--workdir={tmp_path}/two"
    few = ["--config.data.train_split=train[:60]", "--config.data.test_split=test[:60]"]
    small = ["--config.autoencoder.channels=8", "--config.autoencoder.codes=16", "--config.autoencoder.patch=2",
             "--config.autoencoder.multipliers=(1,)", "--config.autoencoder.blocks=1", "--config.training.batch_size=8",
             "--config.training.warmup_steps=2", "--config.training.checkpoint_every=2",
             "--config.evaluation.ema=none"]  # fmt: skip
    train = ["train", "--config=experiments/configs/latents/digits_latent.py", one, *few, *small]
    code, out, err = run(*train, "--config.training.steps=4")
    assert code == 0, err
    assert "perplexity of the codes" in out
    assert (tmp_path / "one" / "reconstructions" / "reconstructions.png").stat().st_size > 0
    code, out, err = run(*train, "--config.training.steps=6")
    assert code == 0, err
    assert "resuming  from step 4" in out
    model = ["--config=experiments/configs/images/smoke.py", f"--config.data.latents={tmp_path}/one", *few,
             "--config.evaluation.guidance_scales=1", "--config.sampling.guidance_scale=1",
             "--config.evaluation.num_samples=20", "--config.sampling.batch_size=10",
             "--config.network.multipliers=(1,)", "--config.network.attention_resolutions=()"]  # fmt: skip
    code, out, err = run("train", two, *model)
    assert code == 0, err
    assert "unambiguous" in out
    code, out, err = run("sample", two, "--num=4")
    assert code == 0, err
    with np.load(tmp_path / "two" / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (4, 8, 8, 1)
    code, out, err = run("evaluate", two)
    assert code == 0, err
    code, _, err = run("edit", two)
    assert code == 2
    assert "this is a model of latents" in err
