"""Makes ``dhariwal.npz``: outputs of EDM's ``DhariwalUNet`` with random parameters, as physicsnemo re-released it.

    python tests/golden/make_dhariwal.py [folder]

with nvidia-physicsnemo installed, and without jax. The network is in training mode, without dropout: in evaluation mode
the group norms of this package divide by the number of values minus one, unlike those of EDM and of PyTorch.
"""

import numpy as np
from physicsnemo.models.diffusion_unets import DhariwalUNet
from random_tensors import fill, run, save, versions

OPTIONS = {"img_resolution": 8, "in_channels": 2, "out_channels": 2, "label_dim": 3, "augment_dim": 9}
OPTIONS |= {
    "model_channels": 64,
    "channel_mult": [1, 2],
    "num_blocks": 2,
    "attn_resolutions": [4],
    "dropout": 0.0,
}


network = DhariwalUNet(**OPTIONS).train()
shapes = fill(network, chosen=dict(network.named_parameters()).__contains__)
buffers = {name: value.tolist() for name, value in network.state_dict().items() if name not in shapes}
random = np.random.RandomState(0)
inputs = {"x": random.standard_normal((3, 2, 8, 8)), "noise": np.array([-1.5, 0.0, 1.1])}
inputs = {name: value.astype(np.float32) for name, value in inputs.items()}
labels = np.array([0, 2, 1])
output = run(network, *inputs.values(), np.eye(3, dtype=np.float32)[labels]).numpy()
about = {"versions": versions("torch", "nvidia-physicsnemo"), "options": OPTIONS, "buffers": buffers}
save("dhariwal", shapes, about, **inputs, labels=labels, output=output)
