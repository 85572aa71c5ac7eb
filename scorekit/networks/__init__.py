"""Networks (Flax Linen) for images, signals and vectors, and what conditions them."""

from scorekit.networks.autoencoder import Autoencoder, fixed_noise_kl
from scorekit.networks.classifier import Classifier
from scorekit.networks.conditioning import ABSENT, Masked, drop_conditions, drop_labels, noise_augmented
from scorekit.networks.embeddings import Conditioning, fourier_features
from scorekit.networks.features import features, layer_names, pool
from scorekit.networks.mlp import MLP
from scorekit.networks.quantise import Quantised, code_counts, nearest_code, perplexity, quantise, revival_loss
from scorekit.networks.unet import UNet
from scorekit.networks.wavenet import WaveNet

__all__ = [
    "ABSENT",
    "MLP",
    "Autoencoder",
    "Classifier",
    "Conditioning",
    "Masked",
    "Quantised",
    "UNet",
    "WaveNet",
    "code_counts",
    "drop_conditions",
    "drop_labels",
    "features",
    "fixed_noise_kl",
    "fourier_features",
    "layer_names",
    "nearest_code",
    "noise_augmented",
    "perplexity",
    "pool",
    "quantise",
    "revival_loss",
]
