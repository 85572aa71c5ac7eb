"""Sizes and inputs that do not fit a network are named when it is traced."""

import jax
import numpy as np
import pytest

from scorekit.networks import (
    ADM,
    Autoencoder,
    AutoencoderKL,
    CausalTransformer,
    CausalWaveNet,
    DDPMUNet,
    DiT,
    PixelCNN,
    SongUNet,
    TieredNetwork,
    UNet,
    WaveNet,
)

KEY = jax.random.key(0)
_ADM = ADM(channels=8, multipliers=(1,), blocks=0)
_DDPM = DDPMUNet(channels=8)
_DIT = DiT(depth=3, width=16, heads=2)
_SONG = SongUNet(channels=8, multipliers=(1,), attention_resolutions=(4,))
_UNET = UNet(channels=8, multipliers=(1, 2), attention_resolutions=(2,), heads=2)
_HEADS = "heads or head_channels must divide the 8 channels, got"
_WIDTH = "width must be divisible by heads = 3 and, for the positions, by 4, got"
NOISY = [
    (_ADM, (2, 4, 4, 2), {"channels": 7}, "channels must be even, for the sines and cosines of the noise level, got 7"),
    (_ADM, (2, 4, 4, 2), {"noise_channels": 7}, "noise_channels must be even, for the sines and cosines .*, got 7"),
    (_ADM, (2, 4, 4, 2), {"channels": 36, "group_channels": 1}, "channels must be such that the 32 groups .* its 36"),
    (_ADM, (2, 4, 4, 2), {"attention_levels": (1,)}, r"attention_levels must be among the levels 0 to 0, got \(1,\)"),
    (_ADM, (2, 4, 4, 2), {"multipliers": (1, 1, 1, 1)}, "x must have sides divisible by 8 for 4 levels, got 4 x 4"),
    (_ADM, (2, 4, 4, 2), {"map_shape": (4, 1)}, r"map_shape must have 3 axes, the last its channels, got \(4, 1\)"),
    *[(_ADM, (2, 4, 4, 2), {"head_channels": size}, f"{_HEADS} {size}") for size in (3, 16)],
    (_ADM, (2, 4, 4, 2), {"heads": 3}, f"{_HEADS} 3"),
    (_DDPM, (1, 4, 4, 1), {"attention_levels": (2,)}, r"attention_levels must be among the levels 0 to 1, got \(2,\)"),
    (_DDPM, (1, 4, 4, 1), {"level_heads": (2, 3)}, r"level_heads must be 2 numbers that divide the channels \[8, 16\]"),
    (_DDPM, (1, 4, 4, 1), {"token_levels": (0,)}, "token_levels must be empty for a network without tokens, got"),
    (_DDPM, (1, 4, 4, 1), {"channels": 5, "groups": 1}, "channels must be even and at least 4, got 5"),
    (_DDPM, (1, 4, 4, 1), {"groups": 3}, "groups must divide the 8 channels of a level, got 3"),
    (_DDPM, (1, 4, 5, 1), {}, r"x must have sides divisible by the stride 2, got \(4, 5\)"),
    (_DDPM, (1, 4, 1), {}, r"x must have shape \(B, H, W, C\), got \(1, 4, 1\)"),
    (_DIT, (4, 4, 6, 2), {"patch": 4}, "patch must divide the sides of x, 4 x 6, got 4"),
    (_DIT, (4, 4, 6, 2), {"heads": 3}, f"{_WIDTH} 16"),
    (_DIT, (4, 4, 6, 2), {"width": 18, "heads": 3}, f"{_WIDTH} 18"),
    (_DIT, (4, 4, 6, 2), {"mlp_ratio": 0.01}, "mlp_ratio must be at least 1 / 16, for one hidden feature, got 0.01"),
    (_SONG, (2, 4, 6, 1), {"multipliers": (1, 1, 1)}, "x must have .* divisible by 4 for 3 levels, got 4 x 6"),
    (_SONG, (2, 4, 6, 1), {"channels": 6}, "channels must be a multiple of 4, got 6"),
    (_SONG, (2, 4, 6, 1), {"channels": 132}, "channels must give every level a multiple of 4 channels, .* 132"),
    (_SONG, (2, 4, 6, 1), {"attention_resolutions": (3,)}, r"attention_resolutions must be among the heights \[4\] of"),
    (_SONG, (2, 4, 6, 1), {"resample_filter": (1, 2, 1)}, r"resample_filter must be an even number .*got \(1, 2, 1\)"),
    (_SONG, (2, 4, 6, 1), {"resample_filter": (1, -1)}, "resample_filter must be an even number .* a positive sum"),
    (_UNET, (2, 5, 4, 1), {}, "divisible by 2 for 2 levels, got 5 x 4"),
    (_UNET, (2, 4), {}, r"x must have shape \(B, H, W, C\) or \(B, L, C\), got \(2, 4\)"),
    (_UNET, (2, 8, 8, 1), {}, r"attention_resolutions must be among the heights \[8, 4\].*got \(2,\)"),
    (_UNET, (2, 4, 4, 1), {"attention_resolutions": (4,), "heads": 3}, "heads must divide.*got 3"),
    (_UNET, (2, 8, 8, 1), {"factors": (2, 2)}, r"factors must hold 1 integers >= 1.*got \(2, 2\)"),
    *[
        (_UNET, (1, 4, 4, 2), {"grid": grid}, "grid must hold 2 integers >= 1, one for each side of x, got")
        for grid in [(2,), (2, 2, 2)]
    ],
    (WaveNet(patch=4), (2, 6, 1), {}, r"L divisible by patch = 4, got \(2, 6, 1\)"),
    (WaveNet(), (2, 6), {}, r"x must have shape \(B, L, C\)"),
]


@pytest.mark.parametrize(("network", "shape", "changes", "message"), NOISY)
def test_networks_of_noisy_data(network, shape, changes, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: network.clone(**changes).init(KEY, np.ones(shape, np.float32), 0.0))


_KL = AutoencoderKL(channels=4, multipliers=(1, 1), blocks=1, groups=2)
_SIGNALS = Autoencoder(data_channels=2, latent_channels=3, channels=4, multipliers=(1, 2), factors=(3,), patch=2)
_UPPER = CausalWaveNet(outputs=3 * 2, channels=4, layers=1, cycle=1)
_LOWER = CausalWaveNet(outputs=5, num_codes=5, channels=4, layers=1, cycle=1, map_size=2)
_IMAGES, _SERIES = np.ones((2, 4, 8, 3), np.float32), np.zeros((2, 6, 1), np.float32)
OTHERS = [
    (_KL.clone(groups=3), _IMAGES, "groups must divide the 4 channels of a level, got 3"),
    (_KL.clone(scaling_factor=(1.0, 2.0)), _IMAGES, r"scaling_factor must be a number or 4 numbers, got shape \(2,\)"),
    (_KL, np.ones((1, 4, 5, 3)), r"x must have sides divisible by the stride 2, got \(4, 5\)"),
    (_KL, np.ones((1, 4, 4, 1)), r"x must have 3 channels, got shape \(1, 4, 4, 1\)"),
    (_SIGNALS, np.ones((2, 34, 2)), r"x must have sides divisible by the stride 6, got \(34,\)"),
    (_SIGNALS, np.ones((2, 36, 1)), r"x must have 2 channels, got shape \(2, 36, 1\)"),
    (_SIGNALS, np.ones((2, 36)), r"x must have shape \(B, H, W, C\) or \(B, L, C\), got \(2, 36\)"),
    (Autoencoder(multipliers=(1, 2), factors=(2, 2)), np.ones((2, 8, 1)), "factors must hold 1 integers >= 1"),
    (CausalWaveNet(num_codes=4), np.zeros((2, 6)), "x must hold integers"),
    (CausalWaveNet(num_codes=4), np.full((2, 6), 4), "x must hold classes from 0 to 3"),
    (CausalWaveNet(layers=3, cycle=2), _SERIES, "layers must be divisible by cycle = 2"),
    (PixelCNN(columns=2, taps=4), _SERIES, "taps must be odd, got 4"),
    (PixelCNN(columns=2, shifted=False), _SERIES, "shifted must be True, since the rows above are those of the"),
    (PixelCNN(columns=4), _SERIES, "x must have a length divisible by columns = 4, got 6"),
    (CausalTransformer(width=6, heads=4), _SERIES, "width must be divisible by heads = 4"),
    (CausalTransformer(heads=1, pattern="strided"), _SERIES, "heads must be at least 2"),
    (CausalTransformer(relative=2, pattern="local"), _SERIES, "relative must be None except with pattern full and"),
    (TieredNetwork(_UPPER, _LOWER, 4), np.zeros((2, 8), int), "upper must have outputs = .* = 8, got 6"),
    (TieredNetwork(_UPPER, _LOWER, 3), np.zeros((2, 8), int), r"length divisible by factor = 3, got \(2, 8\)"),
    (TieredNetwork(_UPPER, _UPPER, 3), np.zeros((2, 6), int), "lower must be a network with a map"),
    (TieredNetwork(_LOWER, _LOWER, 3), np.zeros((2, 6), int), "upper must be a network of values"),
]


@pytest.mark.parametrize(("network", "x", "message"), OTHERS)
def test_autoencoders_and_causal_networks(network, x, message):
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: network.init(KEY, x))


def test_codes_of_an_autoencoder_have_its_channels():
    with pytest.raises(ValueError, match=r"z must have shape \(B, ..., 3\)"):
        jax.eval_shape(lambda: _SIGNALS.init(KEY, np.ones((2, 6, 2)), method="decode"))
