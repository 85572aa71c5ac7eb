"""Writes ``ddpm.npz``: outputs of diffusers' UNet2DModel as the U-Net of DDPM. Needs torch and diffusers."""

import diffusers
import numpy as np
import random_tensors
import torch

CONFIG = {
    "act_fn": "silu",
    "attention_head_dim": None,
    "block_out_channels": [8, 16, 16],
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D", "DownBlock2D"],
    "downsample_padding": 0,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "layers_per_block": 2,
    "norm_eps": 1e-6,
    "norm_num_groups": 4,
    "num_class_embeds": 3,
    "up_block_types": ["UpBlock2D", "AttnUpBlock2D", "UpBlock2D"],
}

network = diffusers.UNet2DModel(**CONFIG).eval()
shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
drawn = random_tensors.draw_all(shapes)
network.load_state_dict({name: torch.from_numpy(a) for name, a in drawn.items()})
x = np.random.RandomState(0).standard_normal((2, 8, 12, 3)).astype(np.float32)
timesteps, labels = np.array([3, 731]), np.array([2, 0])
with torch.no_grad():
    y = network(
        torch.from_numpy(x.transpose(0, 3, 1, 2)), torch.from_numpy(timesteps), class_labels=torch.from_numpy(labels)
    ).sample
about = {"diffusers": diffusers.__version__, "torch": torch.__version__, "config": CONFIG}
outputs = {"x": x, "timesteps": timesteps, "labels": labels, "y": y.numpy().transpose(0, 2, 3, 1)}
random_tensors.save("ddpm", shapes, about, **outputs)
