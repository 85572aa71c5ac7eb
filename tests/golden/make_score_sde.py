"""Makes ``score_sde_ddpmpp.npz`` and ``score_sde_ncsnpp.npz``: NCSNpp of score_sde, as the package sgmse ships it.

    python tests/golden/make_score_sde.py [folder]

Needs torch and sgmse (MIT; its layers are those of score_sde, Apache-2.0), without its dependencies. The network of
sgmse takes two complex images as four channels and has one more layer at the end, whose input is taken here.
"""

import numpy as np
import random_tensors
import torch
from sgmse.backbones.ncsnpp import NCSNpp

SMALL = {
    "nf": 8,
    "attn_resolutions": [4],
    "image_size": 8,
    "progressive": "none",
    "scale_by_sigma": False,
    "centered": True,
}
KINDS = {
    "ddpmpp": {
        "fir": False,
        "progressive_input": "none",
        "embedding_type": "positional",
        "ch_mult": [1, 2],
        "num_res_blocks": 2,
    },
    "ncsnpp": {
        "fir": True,
        "progressive_input": "residual",
        "embedding_type": "fourier",
        "ch_mult": [1, 2, 2],
        "num_res_blocks": 1,
    },
}


def make(kind: str) -> None:
    options = {**SMALL, **KINDS[kind]}
    network = NCSNpp(**options).eval()
    network.sigmas = torch.ones(1000)  # of the training data of sgmse; read, and without effect here
    shapes = random_tensors.fill(network, chosen=lambda name: name.startswith("all_modules."))
    found = []
    network.all_modules[-1].register_forward_hook(lambda module, given, y: found.append(y.numpy()))
    x = np.random.RandomState(0).standard_normal((3, 4, 8, 12)).astype(np.float32)
    noise = np.array([0.02, 0.9, 30.0] if kind == "ncsnpp" else [3.0, 250.5, 999.0], np.float32)
    random_tensors.run(network, x[:, ::2] + 1j * x[:, 1::2], noise)
    trained = [n for n, p in network.named_parameters() if p.requires_grad and n in shapes]
    about = {"packages": random_tensors.versions("torch", "sgmse"), "options": options, "trained": trained}
    random_tensors.save(f"score_sde_{kind}", shapes, about, x=x, noise=noise, y=found[0])


if __name__ == "__main__":
    for kind in KINDS:
        make(kind)
