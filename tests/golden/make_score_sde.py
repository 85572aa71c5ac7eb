"""Makes ``score_sde_ddpmpp.npz`` and ``score_sde_ncsnpp.npz``: NCSNpp of score_sde, as the package sgmse ships it.

    python tests/golden/make_score_sde.py [folder]

Needs torch and sgmse (MIT; its layers are those of score_sde, Apache-2.0), without its dependencies. The network of
sgmse takes two complex images as four channels and has one more layer at the end, whose input is taken here.
"""

import importlib.metadata

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
    shapes = {n: tuple(t.shape) for n, t in network.state_dict().items() if n.startswith("all_modules.")}
    drawn = {name: torch.from_numpy(t) for name, t in random_tensors.draw_all(shapes).items()}
    left = network.load_state_dict(drawn, strict=False)
    assert {name.partition(".")[0] for name in left.missing_keys} == {"output_layer"}, left
    found = []
    network.all_modules[-1].register_forward_hook(lambda module, given, y: found.append(y.numpy()))
    x = np.random.RandomState(0).standard_normal((3, 4, 8, 12)).astype(np.float32)
    noise = np.array([0.02, 0.9, 30.0] if kind == "ncsnpp" else [3.0, 250.5, 999.0], np.float32)
    with torch.no_grad():
        network(torch.from_numpy(x[:, ::2] + 1j * x[:, 1::2]), torch.from_numpy(noise))
    trained = [n for n, p in network.named_parameters() if p.requires_grad and n in shapes]
    packages = {name: importlib.metadata.version(name) for name in ("torch", "sgmse")}
    about = {"packages": packages, "options": options, "trained": trained}
    random_tensors.save(f"score_sde_{kind}", shapes, about, x=x, noise=noise, y=found[0])


if __name__ == "__main__":
    for kind in KINDS:
        make(kind)
