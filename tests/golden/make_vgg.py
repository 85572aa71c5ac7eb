"""Writes ``vgg.npz``: features of torchvision's VGG-16.

    python tests/golden/make_vgg.py [folder]

Needs torch and torchvision, and no download: the weights are drawn from their names.
"""

import importlib.metadata

import numpy as np
import torch
from random_tensors import draw_all, save
from torchvision.models import vgg16
from torchvision.transforms.functional import normalize

TAPS = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3", 22: "relu4_3", 29: "relu5_3"}
"""The activations before each pool, by their number in torchvision."""


def main() -> None:
    with torch.device("meta"):
        network = vgg16().features
    shapes = {f"features.{name}": tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    state = {name.removeprefix("features."): torch.tensor(value) for name, value in draw_all(shapes).items()}
    network.load_state_dict(state, assign=True)
    images = np.random.RandomState(0).randint(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    images[1] //= 2
    y, found = torch.tensor(images).permute(0, 3, 1, 2).float() / 255, {}
    y = normalize(y, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    found["inputs/mean"] = y.mean(dim=(2, 3)).numpy()
    with torch.no_grad():
        y = y[:, :, :48, :32]
        for i, layer in enumerate(network):
            y = layer(y)
            if i in TAPS:
                found[TAPS[i]] = y.mean(dim=(2, 3)).numpy()
    save("vgg", shapes, {name: importlib.metadata.version(name) for name in ("torch", "torchvision")}, **found)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
