"""U-Nets, and networks that are the encoder of one."""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.networks.unets import edm2 as edm2
    from scorekit.networks.unets import residual_unet as residual_unet
    from scorekit.networks.unets import song_unet as song_unet
    from scorekit.networks.unets.edm2 import EDM2 as EDM2
    from scorekit.networks.unets.encoders import Classifier as Classifier
    from scorekit.networks.unets.encoders import DualEncoder as DualEncoder
    from scorekit.networks.unets.residual_unet import ResidualUNet as ResidualUNet
    from scorekit.networks.unets.song_unet import SongUNet as SongUNet
    from scorekit.networks.unets.unet import UNet as UNet

__getattr__, __dir__ = attach(__name__)
