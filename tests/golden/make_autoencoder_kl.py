"""Writes ``autoencoder_kl.npz``: moments and reconstructions of diffusers' AutoencoderKL. Needs torch and diffusers.

Two networks: ``quant`` as in Stable Diffusion, and ``plain``, without the pointwise convolutions around the latent, as
in Stable Diffusion 3.
"""

import diffusers
import numpy as np
import random_tensors
import torch

COMMON = {"down_block_types": ["DownEncoderBlock2D"] * 3, "up_block_types": ["UpDecoderBlock2D"] * 3}
COMMON |= {"block_out_channels": [8, 16, 16], "norm_num_groups": 4, "in_channels": 3, "out_channels": 3}
CASES = {
    "quant": {**COMMON, "latent_channels": 4, "layers_per_block": 1, "scaling_factor": 0.18215},
    "plain": {
        **COMMON,
        "latent_channels": 6,
        "layers_per_block": 2,
        "scaling_factor": 1.5305,
        "shift_factor": 0.0609,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
}

shapes, arrays, rng = {}, {}, np.random.RandomState(0)
for case, config in CASES.items():
    network = diffusers.AutoencoderKL(**config).eval()
    shapes |= random_tensors.fill(network, f"{case}.")
    x = rng.standard_normal((2, 8, 12, 3)).astype(np.float32)
    with torch.no_grad():
        posterior = network.encode(torch.from_numpy(x.transpose(0, 3, 1, 2))).latent_dist
        decoded = network.decode(posterior.mean).sample
    outputs = {"mean": posterior.mean, "log_variance": posterior.logvar, "decoded": decoded}
    arrays |= {f"{case}_x": x, **{f"{case}_{k}": v.numpy().transpose(0, 2, 3, 1) for k, v in outputs.items()}}
about = {"diffusers": diffusers.__version__, "torch": torch.__version__, "config": CASES}
random_tensors.save("autoencoder_kl", shapes, about, **arrays)
