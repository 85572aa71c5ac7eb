"""Makes ``adm_*.npz``: outputs of guided-diffusion's U-Net with random parameters, as azula carries it.

    python tests/golden/make_adm.py [folder]

with torch and azula installed, and without jax.
"""

import numpy as np
from azula.plugins.adm._src.unet import SuperResModel, UNetModel
from random_tensors import fill, run, save, versions

SIZE = 8
COMMON = {"image_size": SIZE, "model_channels": 32, "out_channels": 4, "num_res_blocks": 1}
NETWORKS = {
    "adm_legacy": (
        UNetModel,
        {"in_channels": 2, "channel_mult": (1, 2), "attention_resolutions": (2,), "num_head_channels": 32}
        | {"num_classes": 3, "use_scale_shift_norm": True, "resblock_updown": True},
    ),
    "adm_new": (
        UNetModel,
        {"in_channels": 2, "channel_mult": (1, 1, 2), "attention_resolutions": (1, 4), "num_heads": 4}
        | {"use_new_attention_order": True},
    ),
    "adm_upsampler": (
        SuperResModel,
        {"in_channels": 2, "channel_mult": (1,), "attention_resolutions": (), "num_head_channels": 32}
        | {"num_res_blocks": 2, "num_classes": 3, "use_scale_shift_norm": True, "resblock_updown": True},
    ),
}


random = np.random.RandomState(0)
for name, (kind, options) in NETWORKS.items():
    network = kind(**{**COMMON, **options}).eval()
    shapes = fill(network)
    inputs = {"x": random.standard_normal((3, 2, SIZE, SIZE)), "noise": np.array([0.0, 17.5, 900.0])}
    inputs = {key: value.astype(np.float32) for key, value in inputs.items()}
    conditions = {"y": np.array([0, 2, 1])} if "num_classes" in options else {}
    if kind is SuperResModel:
        conditions["low_res"] = random.standard_normal((3, 2, SIZE // 4, SIZE // 4)).astype(np.float32)
    output = run(network, *inputs.values(), **conditions).numpy()
    about = {"versions": versions("torch", "azula"), "options": options}
    save(name, shapes, about, **inputs, **conditions, output=output)
