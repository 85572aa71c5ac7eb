"""Sizes and inputs that do not fit a network are named when it is traced, where the output would look right."""

import jax
import numpy as np
from errors import raising

from scorekit import networks
from scorekit.networks import MLP, Autoencoder, CausalTransformer, CausalWaveNet, Masked, PixelCNN, UNet
from scorekit.networks._conditions import as_masked
from scorekit.networks._tokens import as_tokens

KEY = jax.random.key(0)


def ones(*shape):
    return np.ones(shape, np.float32)


def traced(network, *inputs, **options):
    return lambda: jax.eval_shape(lambda: network.init(KEY, *inputs, **options))


def dropped(rates):
    return networks.drop_conditions(KEY, {"labels": np.arange(3)}, {"labels": 3}, rates)


IMAGE, SERIES = ones(2, 4, 4, 1), np.zeros((2, 6, 1), np.float32)
RESIDUAL = networks.ResidualUNet(channels=8)
SONG = networks.SongUNet(channels=8, multipliers=(1,))
UNET = UNet(channels=8, multipliers=(1, 2))
NOISY = [
    ("attention_levels must", RESIDUAL.clone(attention_levels=(2,)), IMAGE),
    ("map_shape must", RESIDUAL.clone(map_shape=(4, 1)), IMAGE),
    ("heads must divide the 16 channels", RESIDUAL.clone(heads=3), IMAGE),
    ("head_channels must divide the 16 channels", RESIDUAL.clone(head_channels=3), IMAGE),
    ("head_channels must", RESIDUAL.clone(head_channels=32), IMAGE),
    ("groups must divide the 8 channels", RESIDUAL.clone(groups=3, group_channels=1), IMAGE),
    ("noise_channels must", RESIDUAL.clone(noise_channels=3), IMAGE),
    ("channels must", RESIDUAL.clone(channels=2, heads=1, frequency_shift=1.0), IMAGE),
    ("log_snr_range must", RESIDUAL.clone(log_snr_range=(2.0, 1.0)), IMAGE),
    ("token_levels must", RESIDUAL.clone(token_levels=(0,)), IMAGE),
    ("token_levels must", RESIDUAL.clone(token_levels=(2,)), IMAGE),
    ("x must", RESIDUAL, ones(1, 4, 5, 1)),
    ("patch must", networks.DiT(depth=1, width=16, heads=2, patch=4), ones(2, 4, 6, 2)),
    ("mlp_ratio must", networks.DiT(depth=1, width=16, heads=2, mlp_ratio=0.01), IMAGE),
    ("attention_resolutions must", SONG.clone(attention_resolutions=(3,)), IMAGE),
    ("resample_filter must", SONG.clone(resample_filter=(1, 2, 1)), IMAGE),
    ("resample_filter must", SONG.clone(resample_filter=(1, -1)), IMAGE),
    ("divisible by 2", UNET, ones(2, 5, 4, 1)),
    ("attention_resolutions must", UNET.clone(attention_resolutions=(3,)), IMAGE),
    ("factors must", UNET.clone(factors=(2, 2)), IMAGE),
    ("grid must", UNET.clone(grid=(2,)), IMAGE),
    ("grid must", UNET.clone(grid=(2, 2, 2)), IMAGE),
    ("attention_resolutions or token_levels must", UNET.clone(token_size=5), IMAGE),
    ("token_levels must", UNET.clone(token_size=5, token_levels=(2,)), IMAGE),
    ("L divisible by patch", networks.WaveNet(patch=4), SERIES),
]
KL = networks.AutoencoderKL(channels=4, multipliers=(1, 1), blocks=1, groups=2)
SIGNALS = Autoencoder(data_channels=2, latent_channels=3, channels=4, multipliers=(1, 2), factors=(3,), patch=2)
UPPER = CausalWaveNet(outputs=3 * 2, channels=4, layers=1, cycle=1)
LOWER = CausalWaveNet(outputs=5, num_codes=5, channels=4, layers=1, cycle=1, map_size=2)
TIERED = networks.TieredNetwork
LEVELS = Autoencoder(latent_channels=3, channels=4, multipliers=(1, 2), patch=2, codes=5, levels=(2, 2, 1))
TRANSLATION = networks.TranslationNetwork(domains=3, data_channels=5, channels=8, latent_channels=2, blocks=2)
FLOW, AUTOREGRESSIVE = networks.flows.CouplingFlow, networks.flows.AutoregressiveFlow
WINDOWS = networks.RandomWindowDiscriminator((8, 32), channels=4, depth=1)
SCALES = networks.MultiScaleDiscriminator(scales=3, channels=4, depth=1)
FEATURES, WAVES, PLACE = networks.FeatureDiscriminator(), ones(2, 150, 1), 0.5 * ones(2, 2, 1)
COARSE = np.zeros((2, 2), int)
OTHERS = [
    ("scaling_factor must", KL.clone(scaling_factor=(1.0, 2.0)), (ones(2, 4, 8, 3),)),
    ("x must", KL, (ones(1, 4, 5, 3),)),
    ("x must", KL, (ones(1, 4, 4, 1),)),
    ("x must", SIGNALS, (ones(2, 34, 2),)),
    ("x must", SIGNALS, (ones(2, 36, 1),)),
    ("factors must", Autoencoder(multipliers=(1, 2), factors=(2, 2)), (ones(2, 8, 1),)),
    ("x must", CausalWaveNet(num_codes=4), (np.zeros((2, 6)),)),
    ("x must", CausalWaveNet(num_codes=4), (np.full((2, 6), 4),)),
    ("layers must", CausalWaveNet(layers=3, cycle=2), (SERIES,)),
    ("taps must", PixelCNN(columns=2, taps=4), (SERIES,)),
    ("shifted must", PixelCNN(columns=2, shifted=False), (SERIES,)),
    ("x must", PixelCNN(columns=4), (SERIES,)),
    ("heads must", CausalTransformer(heads=1, pattern="strided"), (SERIES,)),
    ("relative must", CausalTransformer(relative=2, pattern="local"), (SERIES,)),
    ("upper must", TIERED(UPPER, LOWER, 4), (np.zeros((2, 8), int),)),
    ("length divisible by factor", TIERED(UPPER, LOWER, 3), (np.zeros((2, 8), int),)),
    ("lower must", TIERED(UPPER, UPPER, 3), (np.zeros((2, 6), int),)),
    ("upper must", TIERED(LOWER, LOWER, 3), (np.zeros((2, 6), int),)),
    ("divisible by patch", FLOW(), (ones(2, 6, 6, 1),)),
    ("at least 2 channels", FLOW(levels=1), (ones(2, 1),)),
    ("even number", FLOW(levels=3), (ones(2, 6),)),
    ("map_shape must", FLOW(map_shape=(2, 1)), (ones(2, 4),)),
    ("dense_map must", FLOW(levels=1), (ones(2, 4), None, None, ones(2, 3))),
    ("labels and vector must", FLOW(levels=1), (ones(2, 4), np.zeros(2, int))),
    ("blocks must", FLOW(levels=1, blocks=0, num_classes=2), (ones(2, 4), np.zeros(2, int))),
    ("x must", AUTOREGRESSIVE(), (ones(2, 4, 2),)),
    ("x must", AUTOREGRESSIVE(data_channels=2), (ones(2, 4),)),
    ("x must", WINDOWS, (WAVES[:, :20], PLACE)),
    ("place must", WINDOWS, (WAVES, PLACE[:, :1])),
    ("labels and vector must", WINDOWS, (WAVES, PLACE, np.array([0, 2]))),
    ("windows must", WINDOWS.clone(windows=(8, 20)), (WAVES, PLACE)),
    ("L at least 8", SCALES, (WAVES[:, :7],)),
    ("features must", FEATURES, ({"a": ones(3)}, ones(3))),
    ("labels must", FEATURES, ({"a": ones(3, 5)}, ones(3), np.zeros(3, int))),
    ("domain must", TRANSLATION, (ones(4, 7, 5), np.array([0, 1, 2, 3]))),
]
BY_METHOD = [
    ("z must", SIGNALS, (ones(2, 6, 2),), "decode"),
    ("x must", TRANSLATION, (ones(4, 7, 4),), "encode"),
    ("domain must", TRANSLATION, (ones(4, 7, 2), np.zeros(3, int)), "decode"),
    ("z must", TRANSLATION, (ones(4, 5),), "classify"),
    ("index must", LEVELS, ([COARSE, COARSE[:1]],), "from_codes"),
    ("index must", LEVELS, ([COARSE, COARSE, COARSE],), "from_codes"),
]
PRESENT = np.ones((2, 4), bool)

test_networks_of_noisy_data_name_what_does_not_fit = raising(
    [(message, traced(network, x, 0.0)) for message, network, x in NOISY]
)
test_other_networks_name_what_does_not_fit = raising(
    [(message, traced(network, *inputs)) for message, network, inputs in OTHERS]
    + [(message, traced(network, *inputs, method=method)) for message, network, inputs, method in BY_METHOD]
    + [("levels must", lambda n=n: LEVELS.clone(levels=n).latent_shape((16, 1))) for n in ((0,), (3, 2, 1), (4, 2))]
    + [("index must", lambda: LEVELS.init(KEY, [COARSE, COARSE + 5], method="from_codes"))]
    + [("tokens must", traced(UNET, IMAGE, 0.0, tokens=ones(2, 4, 5)))]
    + [("tokens must", traced(MLP(features=16, token_size=5), ones(2, 3), 0.0))]
)
test_conditions_and_codes_that_do_not_fit_are_named = raising(
    [
        ("vector must", lambda: as_masked("vector", ones(4, 3), (2,), 4)),
        ("vector must", lambda: as_masked("vector", ones(4, 2, 2), (2, 2, 1), 4)),
        ("vector.present", lambda: as_masked("vector", Masked(ones(4, 2), np.ones(3, bool)), (2,), 4)),
        ("vector.present", lambda: as_masked("vector", Masked(ones(4, 2), ones(4)), (2,), 4)),
        ("tokens must", lambda: as_tokens(ones(2, 4, 6), 5, 2)),
        ("tokens must", lambda: as_tokens(ones(1, 4, 5), 5, 2)),
        ("tokens must", lambda: as_tokens(ones(2, 0, 5), 5, 2)),
        ("tokens.present must", lambda: as_tokens(Masked(ones(2, 4, 5), PRESENT[:, :2]), 5, 2)),
        ("tokens.present must", lambda: as_tokens(Masked(ones(2, 4, 5), PRESENT.astype(int)), 5, 2)),
        ("rates must", lambda: dropped({"vector": 0.1})),
        (
            r"rates\[labels\] must",
            lambda: networks.drop_conditions(KEY, {"labels": COARSE}, {"labels": 3}, {"labels": -1}),
        ),
        ("codes must", lambda: networks.quantise(ones(2, 3), ones(3, 5))),
        ("codes must", lambda: networks.residual_quantise(ones(1, 2), ones(6, 2))),
        ("index must", lambda: networks.sum_of_codes(np.array([[0], [7]]), ones(3, 6, 2))),
        ("index must", lambda: networks.sum_of_codes(np.zeros((4, 2), int), ones(3, 6, 2))),
        ("trained must", lambda: networks.with_new_parameters({"bias": ones(3)}, {"bias": ones(2)})),
        ("scalars must", traced(MLP(), ones(2, 3), ones(2), scalars=ones(3))),
    ]
)
