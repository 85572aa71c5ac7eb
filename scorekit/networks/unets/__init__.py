"""U-Nets, and networks that are the encoder of one."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.networks.unets import adm, ddpm_unet, edm2, song_unet, vdm_unet
    from scorekit.networks.unets.adm import ADM
    from scorekit.networks.unets.ddpm_unet import DDPMUNet
    from scorekit.networks.unets.edm2 import EDM2
    from scorekit.networks.unets.encoders import Classifier, DualEncoder
    from scorekit.networks.unets.song_unet import SongUNet
    from scorekit.networks.unets.unet import UNet
    from scorekit.networks.unets.vdm_unet import VDMUNet

__getattr__, __dir__ = attach(__name__)

__all__ = [
    "ADM",
    "EDM2",
    "Classifier",
    "DDPMUNet",
    "DualEncoder",
    "SongUNet",
    "UNet",
    "VDMUNet",
    "adm",
    "ddpm_unet",
    "edm2",
    "song_unet",
    "vdm_unet",
]
