"""Writes ``ddpm.npz``: outputs of diffusers' UNet2DModel and UNet2DConditionModel. Needs torch and diffusers.

``ddpm`` is the network of the paper, ``defaults`` has diffusers' defaults at a small size, ``residual`` is the network
of its script for consistency models, ``tokens`` of the script for text to image.
"""

import diffusers
import numpy as np
import random_tensors
import torch

SMALL = {"block_out_channels": [8, 16], "layers_per_block": 1, "norm_num_groups": 4}
ATTENTION = {"down_block_types": ["DownBlock2D", "AttnDownBlock2D"], "up_block_types": ["AttnUpBlock2D", "UpBlock2D"]}
CASES = {
    "ddpm": {**SMALL, **ATTENTION, "attention_head_dim": None, "downsample_padding": 0, "flip_sin_to_cos": False,
             "freq_shift": 1, "layers_per_block": 2, "norm_eps": 1e-6, "num_class_embeds": 3},
    "defaults": {**SMALL, **ATTENTION},
    "residual": {**SMALL, "attn_norm_num_groups": 4, "downsample_type": "resnet", "num_class_embeds": 3,
                 "down_block_types": ["ResnetDownsampleBlock2D", "AttnDownBlock2D"], "upsample_type": "resnet",
                 "up_block_types": ["AttnUpBlock2D", "ResnetUpsampleBlock2D"],
                 "resnet_time_scale_shift": "scale_shift"},
    "tokens": {**SMALL, "_class_name": "UNet2DConditionModel", "attention_head_dim": 2, "cross_attention_dim": 6,
               "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
               "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]},
}  # fmt: skip
rng, shapes, arrays = np.random.RandomState(0), {}, {}
x, timesteps = rng.standard_normal((2, 4, 6, 4)).astype(np.float32), np.array([3, 731])
conditions = {"num_class_embeds": ("class_labels", np.array([2, 0]))}
conditions["cross_attention_dim"] = "encoder_hidden_states", rng.standard_normal((2, 5, 6)).astype(np.float32)
for case, config in CASES.items():
    config |= {"in_channels": 4, "out_channels": 4}
    make = getattr(diffusers, config.get("_class_name", "UNet2DModel"))
    network = make(**{name: value for name, value in config.items() if name[0] != "_"}).eval()
    shapes |= random_tensors.fill(network, f"{case}.")
    given = {name: value for option, (name, value) in conditions.items() if option in config}
    y = random_tensors.run(network, x.transpose(0, 3, 1, 2), timesteps, **given).sample
    arrays[case] = y.numpy().transpose(0, 2, 3, 1)
about = {"diffusers": diffusers.__version__, "torch": torch.__version__, "config": CASES}
arrays |= {"x": x, "timesteps": timesteps, "labels": conditions["num_class_embeds"][1]}
random_tensors.save("ddpm", shapes, about, tokens_in=conditions["cross_attention_dim"][1], **arrays)
