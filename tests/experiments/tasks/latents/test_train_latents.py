"""An autoencoder from a shell, and the programs on a model of its latents."""

import numpy as np
import pytest
from programs import fails, given, succeeds


@pytest.mark.slow
def test_autoencoder_is_trained_and_a_model_of_its_latents_is_sampled_and_evaluated(tmp_path):
    one, two = f"--workdir={tmp_path}/one", f"--workdir={tmp_path}/two"
    few = "data.train_split=train[:60] data.test_split=test[:60]"
    small = """
        autoencoder.channels=8 autoencoder.codes=16 autoencoder.patch=2 autoencoder.multipliers=(1,)
        autoencoder.blocks=1 training.batch_size=8 training.warmup_steps=2 training.checkpoint_every=2
        evaluation.ema=none
    """
    train = ["train", one, *given("latents/digits_latent", f"{few} {small}")]
    out = succeeds(*train, "--config.training.steps=4")
    assert "perplexity of the codes" in out
    assert (tmp_path / "one" / "reconstructions" / "reconstructions.png").stat().st_size > 0
    assert "resuming  from step 4" in succeeds(*train, "--config.training.steps=6")
    small = """
        evaluation.guidance_scales=1 evaluation.num_samples=20 sampling.guidance_scale=1 sampling.batch_size=10
        network.multipliers=(1,) network.attention_resolutions=()
    """
    model = given("images/smoke", f"latents={tmp_path}/one {few} {small}")
    assert "class accuracy" in succeeds("train", two, *model)
    succeeds("sample", two, "--num=4")
    with np.load(tmp_path / "two" / "samples" / "sample.npz") as archive:
        assert archive["x"].shape == (4, 8, 8, 1)
    succeeds("evaluate", two)
    assert "this is a model of latents" in fails("edit", two, at_once=False)
