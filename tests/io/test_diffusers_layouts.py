"""Configs of diffusers: pipelines, and what is not supported."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import random_tensors
from golden.layouts import read
from safetensors.numpy import save_file

from scorekit import io
from scorekit.io.formats import autoencoder_kl, bert, ddpm


def unet(case):
    """The tensors of a U-Net in the golden file, and its config."""
    return read(f"ddpm/{case}")[0], random_tensors.load("ddpm")[1]["config"][case]


REASONS = {
    "norm_eps": (1e30, r"in \[0, 0.1\], got 1e\+30"),
    "act_fn": ("mish", "'silu' or 'swish', got 'mish'"),
    "attention_head_dim": (3, r"divisors of block_out_channels = \[8, 16, 20\], got 3"),
    "attn_norm_num_groups": (2, "None or norm_num_groups = 4, got 2"),
    "block_out_channels": ([8, 16, 20], r"multiples of the first, got \[8, 16, 20\]"),
    "class_embed_type": ("timestep", "None, got 'timestep'"),
    "down_block_types": (["SkipDownBlock2D", "AttnDownBlock2D"], "among DownBlock2D, AttnDownBlock2D, Resnet"),
    "downsample_padding": (2, "1 or 0, got 2"),
    "downsample_type": ("resnet", "such that all levels resample by convolutions, or all by residual blocks"),
    "layers_per_block": ([1, 2], r"the same at all levels, got \[1, 2\]"),
    "out_channels": (5, "4 or 8, got 5"),
    "new_option": (1, "absent: UNet2DModel of diffusers 0.42 has no such option, got 1"),
    "time_embedding_dim": (8, "None or 32, got 8"),
    "up_block_types": (["UpBlock2D", "UpBlock2D"], "with attention at the same levels"),
}


def test_all_reasons_why_a_unet_does_not_load_are_one_error():
    config = {**unet("defaults")[1], **{name: value for name, (value, _) in REASONS.items()}}
    config["down_block_types"] = ["SkipDownBlock2D", "AttnDownBlock2D", "DownBlock2D"]
    with pytest.raises(ValueError) as found:  # noqa: PT011
        ddpm.attributes(config)
    for name, (_, allowed) in REASONS.items():
        assert re.search(f"{name} must be [^;]*{allowed}", str(found.value)), name
    assert str(found.value).count(" must be ") == len(REASONS)
    without_effect = {"num_train_timesteps": 1000, "mid_block_only_cross_attention": True, "other": None}
    ddpm.attributes({**unet("defaults")[1], **without_effect})


@pytest.mark.parametrize(("name", "value"), [("attention_head_dim", [8]), ("down_block_types", ["DownBlock2D"])])
def test_lists_of_a_unet_have_an_entry_for_each_level(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*one for each of block_out_channels"):
        ddpm.attributes({**unet("defaults")[1], name: value})


@pytest.fixture
def pipeline(tmp_path):
    """A folder as ``save_pretrained`` writes it, of a latent model with tokens, and its configs by part."""
    named, config = unet("tokens")
    vae, vae_config = read("autoencoder_kl/quant")[0], random_tensors.load("autoencoder_kl")[1]["config"]["quant"]
    configs = {"unet": {**config, "sample_size": 8}, "vae": vae_config}
    configs["scheduler"] = {"_class_name": "PNDMScheduler", "beta_schedule": "scaled_linear", "steps_offset": 1}
    for part, content in configs.items():
        (tmp_path / part).mkdir()
        name = "scheduler_config.json" if part == "scheduler" else "config.json"
        (tmp_path / part / name).write_text(json.dumps(content))
        if part != "scheduler":
            save_file({"unet": named, "vae": vae}[part], tmp_path / part / "diffusion_pytorch_model.safetensors")
    return tmp_path, configs


@pytest.mark.slow
def test_a_pipeline_opens_with_one_call(pipeline):
    folder, _ = pipeline
    loaded = io.load(folder)
    assert (loaded.shape, loaded.module.token_size, loaded.autoencoder[0].latent_channels) == ((8, 8, 4), 6, 4)
    np.testing.assert_allclose(loaded.preconditioning.noise_input(loaded.schedule.log_snr(1.0)), 999.0)
    tokens = jax.ShapeDtypeStruct((3, 6), jnp.float32)
    run = lambda x, tokens: loaded.decode(loaded.denoiser(tokens=tokens)(x, 0.5).x0)
    assert jax.eval_shape(run, jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32), tokens).shape == (2, 32, 32, 3)
    alone = io.load(folder / "unet" / "diffusion_pytorch_model.safetensors", preconditioning=loaded.preconditioning)
    assert (alone.module, alone.shape) == (loaded.module, loaded.shape)  # the config beside the file


@pytest.mark.parametrize(
    ("layout", "config", "message"),
    [
        (ddpm, {"_class_name": "UNetMotionModel"}, "_class_name must be 'UNet2DModel' or 'UNet2DConditionModel', got"),
        (autoencoder_kl, {"use_quant_conv": False}, "use_post_quant_conv must be False, as use_quant_conv"),
        (autoencoder_kl, {"scaling_factor": 1e300}, r"scaling_factor must be in \[1e-06, 1e\+06\], got 1e\+300"),
        (bert, {"layer_norm_eps": 1e30}, r"layer_norm_eps must be in \[0, 0.1\], got 1e\+30"),
        (autoencoder_kl, {"block_out_channels": [64, 96]}, "block_out_channels must be multiples of the first"),
        (autoencoder_kl, {"up_block_types": ["AttnUpBlock2D"]}, r"must be \['UpDecoderBlock2D'\], got"),
    ],
)
def test_configs_of_other_networks_are_an_error(layout, config, message):
    with pytest.raises(ValueError, match=message):
        layout.attributes(config)


def test_heads_of_the_levels_are_of_one_number_or_of_one_size():
    blocks = {f"{part}_block_types": 2 * [f"CrossAttn{part.title()}Block2D"] for part in ("down", "up")}
    read = lambda heads: ddpm.attributes({**unet("tokens")[1], **blocks, "attention_head_dim": heads})
    found = [(read(heads)["heads"], read(heads)["head_channels"]) for heads in (4, [4, 4], [2, 4])]
    assert found == [(4, None), (4, None), (2, 4)]
    with pytest.raises(ValueError, match="attention_head_dim must be the same number of heads, or of channels"):
        read([2, 8])


def test_latents_of_a_mean_and_a_deviation_for_each_channel():
    found = autoencoder_kl.attributes({"latents_mean": [1.0, 2.0], "latents_std": [0.5, 4.0], "scaling_factor": 2.0})
    assert (found["scaling_factor"], found["shift_factor"]) == ([4.0, 0.5], [1.0, 2.0])
