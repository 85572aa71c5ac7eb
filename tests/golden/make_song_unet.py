"""Makes ``song_unet_ddpmpp.npz`` and ``song_unet_ncsnpp.npz``: NVIDIA PhysicsNeMo's SongUNet, in the names of EDM.

    python tests/golden/make_song_unet.py [folder]

Needs torch and nvidia-physicsnemo (Apache-2.0). The files say what the published sizes have in parameters, too. The
network runs in training mode without dropout: outside it, PhysicsNeMo's norms divide by n - 1, those of EDM by n.
"""

import numpy as np
import random_tensors
import torch
from physicsnemo.models.diffusion_unets import SongUNet

SMALL = {
    "img_resolution": 8,
    "in_channels": 3,
    "out_channels": 3,
    "label_dim": 3,
    "augment_dim": 9,
    "model_channels": 8,
    "attn_resolutions": [4],
    "dropout": 0.0,
}
LEVELS = {
    "ddpmpp": {"channel_mult": [1, 2], "num_blocks": 2},
    "ncsnpp": {"channel_mult": [1, 2, 2], "num_blocks": 1},
}
KINDS: dict[str, dict] = {
    "ddpmpp": {},
    "ncsnpp": {
        "embedding_type": "fourier",
        "channel_mult_noise": 2,
        "encoder_type": "residual",
        "resample_filter": [1, 3, 3, 1],
    },
}
PUBLISHED = {
    "": {"img_resolution": 32},
    "-deep": {"img_resolution": 32, "num_blocks": 8},
    "-cifar10": {"img_resolution": 32, "channel_mult": [2, 2, 2], "augment_dim": 9},
    "-ffhq64": {"img_resolution": 64, "augment_dim": 9},
    "-afhqv2-64": {"img_resolution": 64, "augment_dim": 9},
}
ATTENTION = {"attn.norm": "norm2", "attn.qkv": "qkv", "attn.proj": "proj"}


def edm_names(network: SongUNet) -> dict[str, str]:
    """The names of EDM's state, to those of PhysicsNeMo's, which has buffers of its own and a module for attention."""
    found = {}
    for name in network.state_dict():
        ours = name
        for theirs, edm in ATTENTION.items():
            ours = ours.replace(f".{theirs}.", f".{edm}.")
        fixed = name == "map_noise.freqs" and "positional" in type(network.map_noise).__name__.lower()
        if not name.endswith("device_buffer") and not fixed:
            found[ours] = name
    return found


def count(options: dict) -> int:
    """The parameters of a published size; no memory is needed for them."""
    with torch.device("meta"):
        network = SongUNet(in_channels=3, out_channels=3, **options)
    return sum(p.numel() for p in network.parameters())


def make(kind: str) -> None:
    options = {**SMALL, **LEVELS[kind], **KINDS[kind]}
    network = SongUNet(**options).train()
    names, state = edm_names(network), network.state_dict()
    shapes = {edm: tuple(state[theirs].shape) for edm, theirs in names.items()}
    drawn = {name: t for name, t in random_tensors.draw_all(shapes).items() if not name.endswith("resample_filter")}
    network.load_state_dict({names[name]: torch.from_numpy(t) for name, t in drawn.items()}, strict=False)
    filters = [t for name, t in state.items() if name.endswith("resample_filter")]
    assert all(torch.equal(t, filters[0]) for t in filters)
    normal = np.random.RandomState(0).standard_normal
    x, augment = normal((3, 3, 8, 12)).astype(np.float32), normal((3, 9)).astype(np.float32)
    augment[2] = 0
    labels = np.array([1, 3, 2])  # the second has no class
    noise = np.array([-1.5, 0.3, 1.1], np.float32) if kind == "ncsnpp" else np.array([3.0, 250.5, 999.0], np.float32)
    y = random_tensors.run(network, x, noise, np.eye(4, 3, dtype=np.float32)[labels], augment).numpy()
    about = {
        "packages": random_tensors.versions("torch", "nvidia-physicsnemo"),
        "options": options,
        "parameters": {kind + name: count({**KINDS[kind], **sizes}) for name, sizes in PUBLISHED.items()},
    }
    arrays = {"x": x, "noise": noise, "labels": labels, "augment": augment, "y": y}
    random_tensors.save(f"song_unet_{kind}", shapes, about, **arrays, resample_filter=filters[0].numpy())


if __name__ == "__main__":
    for kind in KINDS:
        make(kind)
