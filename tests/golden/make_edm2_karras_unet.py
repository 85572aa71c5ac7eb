"""Makes ``edm2_karras_unet.npz`` with denoising-diffusion-pytorch's KarrasUnet, without jax:
``python tests/golden/make_edm2_karras_unet.py [folder]``.

Weights are drawn by the published names of EDM2 and mapped. ``as_in_the_paper`` changes KarrasUnet where it differs
from the paper (arXiv:2312.02696): its appendix B, the diagram of configuration G and algorithm 1.
"""

import math
import types

import numpy as np
import random_tensors
import torch
from denoising_diffusion_pytorch import karras_unet
from torch import nn

WIDTH, CLASSES, HEAD = 32, 5, 16
SIZES = {
    "image_size": 8,
    "dim": WIDTH,
    "dim_max": WIDTH,
    "num_classes": CLASSES,
    "channels": 3,
    "num_downsamples": 1,
    "num_blocks_per_stage": 1,
    "attn_res": (4,),
    "fourier_dim": WIDTH,
    "attn_dim_head": HEAD,
}


def as_in_the_paper(network: karras_unet.KarrasUnet) -> None:
    def l2norm(t, dim=-1, eps=1e-12):
        return t / (torch.linalg.vector_norm(t, dim=dim, keepdim=True) + eps * math.sqrt(t.shape[dim]))

    karras_unet.l2norm = l2norm  # the eps is added to the norm, not a lower bound of it
    functional = types.SimpleNamespace(**vars(torch.nn.functional))

    def interpolate(x, size, mode):
        doubled = size[0] > x.shape[-2]
        return torch.nn.functional.interpolate(x, size, mode="nearest" if doubled else mode)

    functional.interpolate = interpolate  # upsampling repeats; bilinear downsampling by 2 is the mean of 2 x 2
    karras_unet.F = functional
    for module in network.modules():
        if isinstance(module, karras_unet.MPAdd) and module.t == 0.3:
            module.t = 0.7  # 0.3 is the share of the branch, not of its input
        if isinstance(module, karras_unet.Attention):  # no memory tokens
            module.mem_kv = nn.Parameter(torch.zeros(2, module.heads, 0, HEAD))
    network.input_block.fan_in += 9  # the channel of ones counts
    for block in [*network.downs, *network.ups, network.mids[1]]:  # no attention in these
        resampling = getattr(block, "downsample", False) or not getattr(block, "needs_skip", True)
        if resampling or block is network.mids[1]:
            block.attn = None
        if getattr(block, "downsample", False):  # the resolution changes without a convolution
            block.downsample_conv = nn.Identity()


def blocks(network: karras_unet.KarrasUnet) -> dict[str, nn.Module]:
    """The blocks by their published names."""
    encoder = ["enc.8x8_block0", "enc.4x4_down", "enc.4x4_block0"]
    middle = ["dec.4x4_in0", "dec.4x4_in1"]
    decoder = ["dec.4x4_block0", "dec.4x4_block1", "dec.8x8_up", "dec.8x8_block0", "dec.8x8_block1"]
    names = zip((*encoder, *middle, *decoder), (*network.downs, *network.mids, *network.ups), strict=True)
    return dict(names)


network = karras_unet.KarrasUnet(**SIZES).eval()
as_in_the_paper(network)
shapes: dict[str, tuple[int, ...]] = {}


def draw(name, *shape):
    shapes[f"unet.{name}"] = shape
    return torch.from_numpy(np.asarray(random_tensors.draw(f"unet.{name}", shape)))


def fill(module, weight):
    assert module.weight.shape == weight.shape
    module.weight.data = weight


with torch.no_grad():
    weight = draw("enc.8x8_conv.weight", WIDTH, 4, 3, 3)
    fill(network.input_block, torch.cat([weight[:, 3:], weight[:, :3]], 1))  # the ones come first there
    fill(network.output_block[0], draw("out_conv.weight", 3, WIDTH, 3, 3))
    network.output_block[1].gain.data = draw("out_gain")
    # The embedding is four times as wide there: four copies of ours, with half the gain.
    fill(network.to_time_emb[1], draw("emb_noise.weight", WIDTH, WIDTH).repeat(4, 1))
    fill(network.to_class_emb, draw("emb_label.weight", WIDTH, CLASSES).repeat(4, 1))
    for name, block in blocks(network).items():
        wide = 2 * WIDTH if name.startswith("dec") and "block" in name else WIDTH
        fill(block.block1[1], draw(f"{name}.conv_res0.weight", WIDTH, wide, 3, 3))
        fill(block.block2[2], draw(f"{name}.conv_res1.weight", WIDTH, WIDTH, 3, 3))
        fill(block.to_emb[0], draw(f"{name}.emb_linear.weight", WIDTH, WIDTH).repeat(1, 4))
        block.to_emb[1].gain.data = draw(f"{name}.emb_gain") / 2
        if wide > WIDTH:
            fill(block.res_conv, draw(f"{name}.conv_skip.weight", WIDTH, wide, 1, 1))
        if block.attn is not None:
            qkv = draw(f"{name}.attn_qkv.weight", 3 * WIDTH, WIDTH, 1, 1)  # heads, channels of a head, (q, k, v)
            fill(block.attn.to_qkv, qkv.reshape(-1, 3, WIDTH, 1, 1).transpose(0, 1).reshape(qkv.shape))
            fill(block.attn.to_out, draw(f"{name}.attn_proj.weight", WIDTH, WIDTH, 1, 1))
    turns = np.random.RandomState(1).standard_normal(WIDTH // 2).astype(np.float32)
    network.to_time_emb[0].weights.data = torch.from_numpy(turns)
    x = np.random.RandomState(0).standard_normal((3, 3, 8, 8)).astype(np.float32)
    noise, labels = np.array([-1.5, 0.1, 1.0], np.float32), np.array([0, 4, 2])
output = random_tensors.run(network, x, noise, class_labels=labels).numpy()
about = random_tensors.versions("denoising-diffusion-pytorch", "torch") | {"sizes": SIZES}
freqs = np.float32(2 * np.pi) * np.concatenate([turns, turns])  # sines, which are late cosines, and cosines
phases = np.repeat(np.float32([-np.pi / 2, 0]), WIDTH // 2)
arrays = {"x": x, "noise": noise, "labels": labels, "output": output, "freqs": freqs, "phases": phases}
random_tensors.save("edm2_karras_unet", shapes, about, **arrays)
