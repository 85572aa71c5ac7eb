"""U-Nets, and networks that are the encoder of one."""

from scorekit.networks.unets import adm, ddpm_unet, edm2, song_unet, vdm_unet
from scorekit.networks.unets.adm import ADM
from scorekit.networks.unets.ddpm_unet import DDPMUNet
from scorekit.networks.unets.edm2 import EDM2
from scorekit.networks.unets.encoders import Classifier, DualEncoder
from scorekit.networks.unets.song_unet import SongUNet
from scorekit.networks.unets.unet import UNet
from scorekit.networks.unets.vdm_unet import VDMUNet

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
