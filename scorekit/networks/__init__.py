"""Networks (Flax Linen) for images, signals and vectors, and what conditions them."""

from scorekit.networks.classifier import Classifier
from scorekit.networks.conditioning import ABSENT, Masked, drop_conditions, drop_labels
from scorekit.networks.embeddings import Conditioning, fourier_features
from scorekit.networks.features import features, layer_names, pool
from scorekit.networks.mlp import MLP
from scorekit.networks.unet import UNet
from scorekit.networks.wavenet import WaveNet

__all__ = [
    "ABSENT",
    "MLP",
    "Classifier",
    "Conditioning",
    "Masked",
    "UNet",
    "WaveNet",
    "drop_conditions",
    "drop_labels",
    "features",
    "fourier_features",
    "layer_names",
    "pool",
]
