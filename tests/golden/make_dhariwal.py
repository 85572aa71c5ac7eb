"""Makes ``dhariwal.npz``: outputs of EDM's ``DhariwalUNet`` with random parameters, as physicsnemo re-released it.

    python tests/golden/make_dhariwal.py [folder]

with nvidia-physicsnemo installed, and without jax. The network is in training mode, without dropout: in evaluation mode
the group norms of this package divide by the number of values minus one, unlike those of EDM and of PyTorch.
"""

import importlib.metadata

import numpy as np
import torch
from physicsnemo.models.diffusion_unets import DhariwalUNet
from random_tensors import draw_all, save

OPTIONS = {"img_resolution": 8, "in_channels": 2, "out_channels": 2, "label_dim": 3, "augment_dim": 9}
OPTIONS |= {
    "model_channels": 64,
    "channel_mult": [1, 2],
    "num_blocks": 2,
    "attn_resolutions": [4],
    "dropout": 0.0,
}


def main() -> None:
    """Writes the file."""
    network = DhariwalUNet(**OPTIONS).train()
    state = network.state_dict()
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    buffers = {name: value for name, value in state.items() if name not in shapes}
    network.load_state_dict({name: torch.from_numpy(value) for name, value in draw_all(shapes).items()} | buffers)
    random = np.random.RandomState(0)
    inputs = {"x": random.standard_normal((3, 2, 8, 8)), "noise": np.array([-1.5, 0.0, 1.1])}
    inputs = {name: value.astype(np.float32) for name, value in inputs.items()}
    labels = np.array([0, 2, 1])
    one_hot = torch.from_numpy(np.eye(3, dtype=np.float32)[labels])
    with torch.no_grad():
        output = network(torch.from_numpy(inputs["x"]), torch.from_numpy(inputs["noise"]), one_hot)
    about = {"versions": {name: importlib.metadata.version(name) for name in ("torch", "nvidia-physicsnemo")}}
    about |= {"options": OPTIONS, "buffers": {name: value.tolist() for name, value in buffers.items()}}
    save("dhariwal", shapes, about, **inputs, labels=labels, output=output.numpy())


if __name__ == "__main__":
    main()
