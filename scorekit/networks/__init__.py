"""Networks (Flax Linen) for images, signals and vectors, and their conditioning.

Every network of :data:`DENOISING` is called as ``(x, noise, labels=None, vector=None, dense_map=None)``, has the
attributes ``num_classes``, ``vector_size``, ``map_shape`` and ``dtype``, and lists in ``spatial_axes`` the numbers of
spatial axes of the data that it takes: 0 for vectors, 1 for signals, 2 for images. :class:`UNet`, :class:`DiT` and
:class:`MLP` also take ``scalars``, such as the second time of a flow map (:mod:`scorekit.flow_maps`), and the first two
``tokens`` of ``token_size`` features each, such as those of a :class:`TextEncoder`.

:class:`CausalWaveNet`, :class:`CausalTransformer` and :class:`TieredNetwork` are autoregressive, for
:mod:`scorekit.autoregressive`.

Discriminators refine what a denoiser was distilled into: :class:`FeatureDiscriminator` on the features of a denoiser,
:class:`MultiScaleDiscriminator` and :class:`MultiPeriodDiscriminator` on waveforms.

The modules of networks with published sizes hold these as ``PRESETS``, by the names that ``preset`` takes;
:mod:`~scorekit.networks.attention` holds the implementations of attention.
"""

from scorekit.networks import adm, attention, autoencoder_kl, ddpm_unet, dit, edm2, song_unet, vdm_unet
from scorekit.networks._magnitude import normalise_weights
from scorekit.networks.adm import ADM
from scorekit.networks.autoencoder import Autoencoder, fixed_noise_kl
from scorekit.networks.autoencoder_kl import AutoencoderKL, Posterior
from scorekit.networks.causal_transformer import CausalTransformer
from scorekit.networks.causal_wavenet import CausalWaveNet
from scorekit.networks.classifier import Classifier
from scorekit.networks.conditioning import ABSENT, Masked, drop_conditions, drop_labels, noise_augmented
from scorekit.networks.ddpm_unet import DDPMUNet
from scorekit.networks.discriminators import FeatureDiscriminator
from scorekit.networks.dit import DiT
from scorekit.networks.dual_encoder import DualEncoder
from scorekit.networks.edm2 import EDM2
from scorekit.networks.embeddings import Conditioning, fourier_features, timestep_features, with_new_parameters
from scorekit.networks.features import features, layer_names, pool
from scorekit.networks.log_variance import LogVariance
from scorekit.networks.mlp import MLP
from scorekit.networks.quantise import Quantised, code_counts, nearest_code, perplexity, quantise, revival_loss
from scorekit.networks.song_unet import SongUNet
from scorekit.networks.text_encoder import TextEncoder, TextFeatures
from scorekit.networks.tiered import TieredNetwork
from scorekit.networks.unet import UNet
from scorekit.networks.vdm_unet import VDMUNet
from scorekit.networks.waveform_discriminators import (
    DiscriminatorOutput,
    MultiPeriodDiscriminator,
    MultiScaleDiscriminator,
)
from scorekit.networks.wavenet import WaveNet

DENOISING = (ADM, DDPMUNet, DiT, EDM2, MLP, SongUNet, UNet, VDMUNet, WaveNet)
"""The networks that can be trained as denoisers; the contract tests run on each."""

__all__ = [
    "ABSENT",
    "ADM",
    "DENOISING",
    "EDM2",
    "MLP",
    "Autoencoder",
    "AutoencoderKL",
    "CausalTransformer",
    "CausalWaveNet",
    "Classifier",
    "Conditioning",
    "DDPMUNet",
    "DiT",
    "DiscriminatorOutput",
    "DualEncoder",
    "FeatureDiscriminator",
    "LogVariance",
    "Masked",
    "MultiPeriodDiscriminator",
    "MultiScaleDiscriminator",
    "Posterior",
    "Quantised",
    "SongUNet",
    "TextEncoder",
    "TextFeatures",
    "TieredNetwork",
    "UNet",
    "VDMUNet",
    "WaveNet",
    "adm",
    "attention",
    "autoencoder_kl",
    "code_counts",
    "ddpm_unet",
    "dit",
    "drop_conditions",
    "drop_labels",
    "edm2",
    "features",
    "fixed_noise_kl",
    "fourier_features",
    "layer_names",
    "nearest_code",
    "noise_augmented",
    "normalise_weights",
    "perplexity",
    "pool",
    "quantise",
    "revival_loss",
    "song_unet",
    "timestep_features",
    "vdm_unet",
    "with_new_parameters",
]
