"""U-Nets, and networks that are the encoder of one."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.networks.unets import edm2, residual_unet, song_unet
    from scorekit.networks.unets.edm2 import EDM2
    from scorekit.networks.unets.encoders import Classifier, DualEncoder
    from scorekit.networks.unets.residual_unet import ResidualUNet
    from scorekit.networks.unets.song_unet import SongUNet
    from scorekit.networks.unets.unet import UNet

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "EDM2",
    "Classifier",
    "DualEncoder",
    "ResidualUNet",
    "SongUNet",
    "UNet",
    "edm2",
    "residual_unet",
    "song_unet",
]
