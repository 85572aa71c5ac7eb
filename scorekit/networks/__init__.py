"""Networks (Flax Linen) for images, signals and vectors, and their conditioning.

Every network of :data:`DENOISING` is called as ``(x, noise, labels=None, vector=None, dense_map=None)``, has the
attributes ``num_classes``, ``vector_size``, ``map_shape`` and ``dtype``, and lists in ``spatial_axes`` the numbers of
spatial axes of the data that it takes: 0 for vectors, 1 for signals, 2 for images. The output is float32 and shaped
like ``x``; a condition that is None is absent for all examples. :class:`UNet`, :class:`DiT` and :class:`MLP` also take
``scalars``, such as the second time of a flow map (:mod:`scorekit.flow_maps`), and the first two and
:class:`ResidualUNet` ``tokens``, such as the output of a :class:`TextEncoder`.

:class:`CausalWaveNet`, :class:`CausalTransformer`, :class:`PixelCNN` and :class:`TieredNetwork` are autoregressive, for
:mod:`scorekit.autoregressive`.

:class:`TranslationNetwork` is an autoencoder with a decoder for each family of instruments.

:mod:`~scorekit.networks.flows` holds invertible networks, whose density is exact.

Discriminators refine the generator that a denoiser was distilled into: :class:`FeatureDiscriminator` on the features of
a denoiser, :class:`MultiScaleDiscriminator` on waveforms. A generator learns from
nothing else with :class:`RandomWindowDiscriminator`, on windows of sounds or images.

Attributes are checked when a network is made. An input or condition of the wrong shape or dtype is an error when the
network is called, as is an attribute that does not fit another one or the input. Parameters, conditioning, norms,
softmax and output are float32; ``dtype`` is the type of convolutions, projections and attention. Signals ``(B, L, C)``
are treated like images, with kernels of 3 in place of 3 x 3. A dense map is resized to the first features, convolved
and added to them; learned null tokens replace absent conditions. A network that is to have ``scalars`` is initialised
with them. The output of a denoising or causal network is exactly zero at initialisation. On CPU, XLA stores activations
despite ``remat``.

The modules of networks with published sizes hold these as ``PRESETS``, and ``preset(name, **changes)`` of the class is
the network of a name, without parameters, with some attributes changed;
:mod:`~scorekit.networks.attention` holds the implementations of attention.

>>> import jax
>>> import jax.numpy as jnp
>>> from scorekit.networks import *
>>> x, noise, labels = jnp.ones((2, 8, 8, 1)), jnp.zeros(2), jnp.array([3, 10])
>>> network = UNet(channels=8, num_classes=10)
>>> params = jax.jit(network.init)(jax.random.key(0), x, noise)
>>> jax.jit(network.apply)(params, x, noise, labels).shape
(2, 8, 8, 1)
>>> others = [DiT(width=16), EDM2(channels=8, head_channels=8), ResidualUNet(channels=8), SongUNet(channels=8)]
>>> shapes = lambda network, x: jax.eval_shape(network.init_with_output, jax.random.key(0), x, noise)[0].shape
>>> {shapes(network, x) for network in others}
{(2, 8, 8, 1)}
>>> shapes(MLP(features=8), x[:, :, 0, 0]), shapes(WaveNet(channels=8, layers=4, cycle=2), x[..., 0])
((2, 8), (2, 8, 8))
>>> LogVariance().init_with_output(jax.random.key(0), noise)[0].shape
(2,)
>>> Conditioning(features=8, num_classes=10).init_with_output(jax.random.key(0), noise, labels, 2)[0].shape
(2, 8)
>>> ResidualUNet.preset("adm-imagenet-64-edm", dropout=0.0).channels
192
"""

from typing import TYPE_CHECKING

from scorekit._lazy import attach

if TYPE_CHECKING:
    from scorekit.networks import attention as attention
    from scorekit.networks import autoencoder_kl as autoencoder_kl
    from scorekit.networks import dit as dit
    from scorekit.networks import flows as flows
    from scorekit.networks._magnitude import LogVariance as LogVariance
    from scorekit.networks._magnitude import normalise_weights as normalise_weights
    from scorekit.networks.autoencoder_kl import AutoencoderKL as AutoencoderKL
    from scorekit.networks.autoencoder_kl import Posterior as Posterior
    from scorekit.networks.autoencoders import Autoencoder as Autoencoder
    from scorekit.networks.autoencoders import CodeLevel as CodeLevel
    from scorekit.networks.autoencoders import TranslationNetwork as TranslationNetwork
    from scorekit.networks.autoencoders import fixed_noise_kl as fixed_noise_kl
    from scorekit.networks.autoencoders import reverse_gradient as reverse_gradient
    from scorekit.networks.causal import CausalTransformer as CausalTransformer
    from scorekit.networks.causal import CausalWaveNet as CausalWaveNet
    from scorekit.networks.causal import PixelCNN as PixelCNN
    from scorekit.networks.causal import TieredNetwork as TieredNetwork
    from scorekit.networks.codebooks import Quantised as Quantised
    from scorekit.networks.codebooks import code_counts as code_counts
    from scorekit.networks.codebooks import nearest_code as nearest_code
    from scorekit.networks.codebooks import perplexity as perplexity
    from scorekit.networks.codebooks import quantise as quantise
    from scorekit.networks.codebooks import residual_quantise as residual_quantise
    from scorekit.networks.codebooks import revival_loss as revival_loss
    from scorekit.networks.codebooks import sum_of_codes as sum_of_codes
    from scorekit.networks.conditioning import ABSENT as ABSENT
    from scorekit.networks.conditioning import Masked as Masked
    from scorekit.networks.conditioning import drop_conditions as drop_conditions
    from scorekit.networks.conditioning import drop_labels as drop_labels
    from scorekit.networks.conditioning import noise_augmented as noise_augmented
    from scorekit.networks.discriminators import DiscriminatorOutput as DiscriminatorOutput
    from scorekit.networks.discriminators import FeatureDiscriminator as FeatureDiscriminator
    from scorekit.networks.discriminators import MultiScaleDiscriminator as MultiScaleDiscriminator
    from scorekit.networks.discriminators import RandomWindowDiscriminator as RandomWindowDiscriminator
    from scorekit.networks.dit import DiT as DiT
    from scorekit.networks.embeddings import Conditioning as Conditioning
    from scorekit.networks.embeddings import fourier_features as fourier_features
    from scorekit.networks.embeddings import timestep_features as timestep_features
    from scorekit.networks.embeddings import with_new_parameters as with_new_parameters
    from scorekit.networks.intermediates import features as features
    from scorekit.networks.intermediates import layer_names as layer_names
    from scorekit.networks.intermediates import pool as pool
    from scorekit.networks.mlp import MLP as MLP
    from scorekit.networks.text_encoder import TextEncoder as TextEncoder
    from scorekit.networks.text_encoder import TextFeatures as TextFeatures
    from scorekit.networks.unets import EDM2 as EDM2
    from scorekit.networks.unets import Classifier as Classifier
    from scorekit.networks.unets import DualEncoder as DualEncoder
    from scorekit.networks.unets import ResidualUNet as ResidualUNet
    from scorekit.networks.unets import SongUNet as SongUNet
    from scorekit.networks.unets import UNet as UNet
    from scorekit.networks.unets import edm2 as edm2
    from scorekit.networks.unets import residual_unet as residual_unet
    from scorekit.networks.unets import song_unet as song_unet
    from scorekit.networks.wavenet import WaveNet as WaveNet

__getattr__, __dir__ = attach(__name__)

DENOISING = ("DiT", "EDM2", "MLP", "ResidualUNet", "SongUNet", "UNet", "WaveNet")
"""The names of the networks that can be trained as denoisers; the contract tests run on each."""
