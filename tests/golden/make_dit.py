"""Makes ``dit.npz`` with diffusers: ``python tests/golden/make_dit.py [folder]``, without jax.

The transformer is run with the frequencies of the timestep of the paper's implementation, ``10,000 ** (-i / 128)``:
diffusers divides by 127, although it converts weights that were trained with 128. ``unchanged`` is its own output.
"""

import diffusers
import numpy as np
import random_tensors
import torch

SIZES = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 3,
    "out_channels": 6,
    "num_layers": 2,
    "sample_size": 8,
    "patch_size": 2,
    "num_embeds_ada_norm": 5,
    "norm_eps": 1e-6,
}
SHARED = ("timestep_embedder", "class_embedder")
"""Stored in every block; the weights of the first are those of all."""


network = diffusers.DiTTransformer2DModel(**SIZES).eval()
shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
drawn = random_tensors.draw_all(shapes)
for name in drawn:
    if any(part in name for part in SHARED):
        drawn[name] = drawn[name.replace(name.split(".norm1")[0], "transformer_blocks.0")]
network.load_state_dict({name: torch.from_numpy(array) for name, array in drawn.items()})
rng = np.random.RandomState(0)
x = rng.standard_normal((3, 3, 8, 8)).astype(np.float32)
timestep, labels = np.array([0.0, 250.5, 999.0], np.float32), np.array([0, 4, 5])
call = lambda: random_tensors.run(network, x, timestep, labels).sample.numpy()
unchanged = call()
for block in network.transformer_blocks:
    block.norm1.emb.time_proj.downscale_freq_shift = 0
output = call()
about = {"diffusers": diffusers.__version__, "torch": torch.__version__, "sizes": SIZES}
random_tensors.save("dit", shapes, about, x=x, timestep=timestep, labels=labels, output=output, unchanged=unchanged)
