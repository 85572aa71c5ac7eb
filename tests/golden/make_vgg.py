"""Writes ``vgg.npz``: features of torchvision's VGG-16.

    python tests/golden/make_vgg.py [folder]

Needs torch and torchvision, and no download: the weights are drawn from their names.
"""

import numpy as np
import torch
from random_tensors import fill, save, versions
from torchvision.models import vgg16
from torchvision.transforms.functional import normalize

TAPS = {3: "relu1_2", 8: "relu2_2", 15: "relu3_3", 22: "relu4_3", 29: "relu5_3"}
"""The activations before each pool, by their number in torchvision."""


torch.set_num_threads(1)
with torch.device("meta"):
    network = vgg16().features
shapes = fill(network, "features.")
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
save("vgg", shapes, versions("torch", "torchvision"), **found)
