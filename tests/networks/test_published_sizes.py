"""Presets have the numbers of parameters that papers state, or that the published code or other packages build."""

import jax
import jax.numpy as jnp
import pytest
from golden import random_tensors

from scorekit.networks import EDM2, AutoencoderKL, DiT, ResidualUNet, SongUNet
from scorekit.networks.dit import positions

KEY = jax.random.key(0, impl="rbg")
SONG = {**random_tensors.load("song_unet_ddpmpp")[1]["parameters"]}
SONG |= random_tensors.load("song_unet_ncsnpp")[1]["parameters"]
PUBLISHED = {
    # what guided-diffusion's flags and EDM's defaults build, one of each kind
    (ResidualUNet, "adm-imagenet-64-edm", 64): 295_899_267,
    (ResidualUNet, "adm-imagenet-128", 128): 421_529_606,
    (ResidualUNet, "adm-imagenet-512", 512): 558_997_638,
    (ResidualUNet, "adm-upsampler-128-512", 512): 308_835_270,
    # 35.7 and 114 million in the paper of DDPM
    (ResidualUNet, "ddpm-cifar10", 32): 35_746_307,
    (ResidualUNet, "ddpm-celebahq-256", 32): 113_673_219,
    # physicsnemo
    **{(SongUNet, f"{kind}-cifar10", 32): SONG[f"{kind}-cifar10"] for kind in ("ddpmpp", "ncsnpp")},
    **{(SongUNet, f"{kind}-deep", 32): SONG[f"{kind}-deep"] for kind in ("ddpmpp", "ncsnpp")},
    **{(SongUNet, f"{kind}-ffhq64", 64): SONG[f"{kind}-ffhq64"] for kind in ("ddpmpp", "ncsnpp")},
    # table 1 of the paper, in millions; of XL/2 with the positions, which are not stored here
    **{(DiT, f"DiT-{size}/2", 32): str(n) for size, n in (("S", 33), ("B", 130), ("L", 458))},
    (DiT, "DiT-XL/2", 32): 675_129_632 - positions((16, 16), 1152).size,
    # Karras et al. 2024, table 5 and, for S, figure 22, in millions
    **{(EDM2, f"img512-{size}", 64): n for size, n in (("xs", "125"), ("s", "280.2"), ("xxl", "1523"))},
    # diffusers
    (AutoencoderKL, "sd-vae-ft", 32): 83_653_863,
    (AutoencoderKL, "sd3", 32): 83_819_683,
}
"""By class, preset and side of an image; in millions as text, of the precision that is stated."""
FAST = (AutoencoderKL, DiT)
LATENT = (DiT, EDM2)


def null_tokens(network, params):
    """Parameters that the published networks do not have: learned null tokens, and the bias of the map."""
    if isinstance(network, EDM2):
        return params["conditioning"]["null_label"].size
    if not isinstance(network, ResidualUNet):
        return 0
    of_labels = 0 if network.num_classes is None else params["conditioning"]["noise_out"]["bias"].size
    return of_labels + (0 if network.map_shape is None else 2 * network.channels)


EACH = [pytest.param(case, id=case[1], marks=() if case[0] in FAST else pytest.mark.slow) for case in PUBLISHED]


@pytest.mark.parametrize("case", EACH)
def test_presets_have_the_published_numbers_of_parameters(case):
    kind, name, side = case
    network, channels = kind.preset(name), 4 if kind in LATENT else 3
    inputs = jnp.zeros((1, side, side, channels)), *([] if kind is AutoencoderKL else [0.0])
    params = jax.eval_shape(network.init, KEY, *inputs)["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params)) - null_tokens(network, params)
    published = PUBLISHED[case]
    if isinstance(published, str):
        assert f"{count / 1e6:.{len(published.partition('.')[2])}f}" == published
    else:
        assert count == published


def count_of_vdm(c, depth, everywhere):
    """The number of parameters of VDM's unconditional network for three channels, layer by layer."""
    d, e = 3, 4 * c
    conv, attention = lambda n, m: 9 * n * m + m, 2 * c + 4 * (c * c + c)
    block = lambda n: 2 * n + conv(n, c) + e * c + 2 * c + conv(c, c) + (n * c + c if n != c else 0)
    total = conv(5 * d, c) + (c * e + e) + (e * e + e) + depth * block(c) + 2 * block(c) + attention
    total += (depth + 1) * block(2 * c) + 2 * c + conv(c, d)
    return total + everywhere * (2 * depth + 1) * attention


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ResidualUNet.presets if name.startswith("vdm")])
def test_presets_of_vdm_have_its_layers(name):
    network = ResidualUNet.preset(name)
    shapes = jax.eval_shape(network.init, KEY, jnp.zeros((1, 32, 32, 3)), 0.0)
    expected = count_of_vdm(network.channels, network.blocks, bool(network.attention_levels))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == expected


def test_every_preset_is_counted_or_differs_from_one_that_is_in_what_has_no_parameters():
    song, adm = SongUNet.presets, ResidualUNet.preset
    assert song.keys() == SONG.keys()
    for kind in ("ddpmpp", "ncsnpp"):
        assert song[f"{kind}-afhqv2-64"] == {**song[f"{kind}-ffhq64"], "dropout": 0.25}
        assert song[kind] == {**song[f"{kind}-deep"], "blocks": 4}
    assert adm("adm-imagenet-64", learned_variance=False) == adm("adm-imagenet-64-edm")
    assert adm("adm-lsun", dropout=0.0) == adm("adm-imagenet-256-unconditional")
    names = [sum(name.startswith(kind) for name in ResidualUNet.presets) for kind in ("adm", "ddpm", "vdm")]
    assert (names, len(DiT.presets)) == ([9, 3, 4], 12)
    widths = {name: EDM2.preset(name).channels for name in EDM2.presets if name.startswith("img64")}
    assert widths == {"img64-s": 192, "img64-m": 256, "img64-l": 320, "img64-xl": 384}
    assert [EDM2.preset(f"img512-{size}").dropout for size in ("xs", "s", "m", "xxl")] == [0, 0, 0.1, 0.1]
    assert EDM2.preset("img64-s", dtype=jnp.bfloat16).dtype == jnp.bfloat16
    with pytest.raises(ValueError, match=r"name must be one of ddpmpp, .*ncsnpp-afhqv2-64, got 'ncsn'"):
        SongUNet.preset("ncsn")
