"""Pipelines that diffusers saves, of randomised weights, against diffusers: what its scripts and tutorials train."""

import jax
import numpy as np
import pytest
from golden import random_tensors

from scorekit import io

SMALL = {"sample_size": 16, "norm_num_groups": 8}
SCRIPT = {"layers_per_block": 1, "block_out_channels": (8, 8, 16, 16, 32, 32), "sample_size": 32}
SCRIPT |= {"down_block_types": ("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D")}
SCRIPT |= {"up_block_types": ("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4}
TOKENS = {"cross_attention_dim": 12, "attention_head_dim": (2, 4), "layers_per_block": 1}
TOKENS |= {"block_out_channels": (16, 32), "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
TOKENS |= {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}
PROJECTED = {"class_embed_type": "simple_projection", "projection_class_embeddings_input_dim": 6}
SHIFTED = {"resnet_time_scale_shift": "scale_shift", "num_class_embeds": 3}
CASES = {
    "defaults": ("UNet2DModel", {"block_out_channels": (16, 32, 48, 64)}),
    "unconditional script, basic training": ("UNet2DModel", SCRIPT),
    "classes, no norm in the middle": ("UNet2DModel", {"block_out_channels": (16, 16, 32, 32), **SHIFTED}),
    "no attention": ("UNet2DModel", {"block_out_channels": (16,) * 4, "add_attention": False, "out_channels": 6}),
    "text to image": ("UNet2DConditionModel", TOKENS),
    "vectors": ("UNet2DConditionModel", {**TOKENS, **PROJECTED, "transformer_layers_per_block": 2}),
    "linear projections": ("UNet2DConditionModel", {**TOKENS, "use_linear_projection": True, "num_class_embeds": 3}),
}
VAES = {"no attention": {"mid_block_add_attention": False, "use_quant_conv": False, "use_post_quant_conv": False}}


def randomised(module):
    torch = pytest.importorskip("torch")
    drawn = random_tensors.draw_all({name: tuple(tensor.shape) for name, tensor in module.state_dict().items()})
    module.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in drawn.items()})
    return module.eval()


@pytest.mark.external
@pytest.mark.parametrize("case", CASES)
def test_outputs_of_pipelines(case, tmp_path):
    diffusers, torch = pytest.importorskip("diffusers"), pytest.importorskip("torch")
    (kind, options), rng = CASES[case], np.random.RandomState(0)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    theirs = randomised(getattr(diffusers, kind)(**{**SMALL, **options}))
    theirs.save_pretrained(tmp_path / "unet", safe_serialization=case != "text to image")  # that one as a .bin
    diffusers.DDIMScheduler().save_pretrained(tmp_path / "scheduler")
    vae = randomised(diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, **VAES.get(case, {})))
    vae.save_pretrained(tmp_path / "vae")
    loaded, given, timesteps = io.load(tmp_path), {}, np.array([3, 731])
    x = normal(2, *loaded.shape)
    if "num_class_embeds" in options:
        given["class_labels"] = np.array([2, 0])
    if case == "vectors":
        given["class_labels"] = normal(2, 6)
    if kind == "UNet2DConditionModel":
        given["encoder_hidden_states"] = normal(2, 7, 12)
    ours = {"vector" if case == "vectors" else "labels": given.get("class_labels")}
    ours |= {"tokens": given.get("encoder_hidden_states")}
    inputs = torch.from_numpy(np.moveaxis(x, -1, 1)), torch.from_numpy(timesteps)
    with torch.no_grad():
        y = theirs(*inputs, **{name: torch.from_numpy(value) for name, value in given.items()}).sample
        decoded = vae.decode(inputs[0][:, :3].repeat(1, 2, 1, 1)[:, :4] / vae.config.scaling_factor).sample
    for found, expected in (
        (jax.jit(loaded.module.apply)(loaded.params, x, timesteps, **ours), y[:, : x.shape[-1]]),
        (jax.jit(loaded.decode)(np.concatenate([x[..., :3], x[..., :1]], -1)), decoded),
    ):
        expected = np.moveaxis(expected.numpy(), 1, -1)
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()
