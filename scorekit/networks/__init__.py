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
and added to them; learned null tokens replace absent conditions. The output of a denoising
or causal network is exactly zero at initialisation.

The modules of networks with published sizes hold these as ``PRESETS``, and ``preset(name, **changes)`` of the class is
the network of a name, without parameters, with some attributes changed;
:mod:`~scorekit.networks.attention` holds the implementations of attention.

Returns:
  float32 arrays with the leading axis of the batch; :func:`features` returns them by the names of layers.

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

Args:
  channels: channels of the first level.
  multipliers: channels of each level as multiples of ``channels``; with factors of 2, level i has size / 2^i.
  blocks: residual blocks per level of the encoder; the decoder has one more.
  heads: number of attention heads.
  attention_resolutions: heights (of signals: lengths) in patches at which attention follows each residual block.
  patch: side of the patches that are folded into the channels of the first level.
  factors: downsampling factor between consecutive levels; empty for 2 everywhere.
  attention: ``"xla"`` or ``"fused"``, see :func:`scorekit.networks.attention.attend`.
  num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
  vector_size: length C of a conditioning vector; None: no vector.
  map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
  map_size: features of a map with a row for each position; None: no map.
  token_size: features of a conditioning token, of which there may be any number; None: no tokens.
  encoder_blocks: residual blocks of the encoders of conditions; 0 for none.
  scales: number n of further scales on which encoders of vectors and sets see every entry v, as
    ``asinh(4^k v) / asinh(4^k)``, k = 1 … n: for observations whose spread varies by orders of magnitude.
  data_channels: channels C of the data of an autoencoder.
  latent_channels: channels of its latent.
  outputs: features of the output at each position: parameters of a conditional distribution, such as
    :attr:`scorekit.autoregressive.Categorical.num_outputs`.
  num_codes: number of codes of the inputs ``(B, L)``; None: the inputs are values ``(B, L, C)``.
  shifted: False: position i sees the input at i too, as a causal denoiser does, and inputs may have a noise level each
    (:mod:`scorekit.forcing`).
  state: state of a causal network after the position before, or of ``init_state``.
  previous: last input, ``(B,)`` codes or ``(B, C)`` values, ignored at the first position; without the shift the input
    at this one.
  row: row of the map at this position, ``(B, map_size)``, or None.
  batch: number B of sequences.
  length: largest number L of positions.
  dtype: dtype of the computation.
  noise_scale: factor of the noise level; the default is for ``log_snr / 4``. With 1, as in most presets,
    the network is called with the noise argument of the published one.
  learned_variance: whether the network also predicts a variance: the output has twice the channels of ``x``, of which
    the first half is the prediction.
  divergence: whether the network also has a divergence head (:mod:`scorekit.flow_maps.divergence`), in the last
    channels of the output, as many as those of ``x``.
  dropout: rate of dropout before the last convolution of each residual block, active where ``apply`` is given a key:
    ``rngs={"dropout": key}``.
  remat: recompute the activations of a block in the backward pass instead of storing them (rematerialisation); on CPU,
    XLA stores them anyway.
  noise: noise level, scalar or ``(B,)``; of order one (for example ``log_snr / 4``, clipped).
  labels: integer labels, scalar or ``(B,)``, or None.
  vector: ``(B, C)``, a :class:`Masked`, or None.
  dense_map: ``(B, *map_shape)``, of a causal network ``(B, L, map_size)``, a :class:`Masked`, or None.
  scalars: further scalar conditions of order one, ``(B,)`` or ``(B, K)``: of a flow map the length of the jump, a
    guidance scale; or None. A network that is to have them is initialised with them.
  x: images ``(B, H, W, C)``, signals ``(B, L, C)`` or vectors ``(B, D)``; an autoencoder's stride divides the sides.
  z: latents ``(B, *latent_shape)`` of an autoencoder.
  tokens: ``(B, T, token_size)``, a :class:`Masked` with booleans ``(B, T)`` for the tokens that are present, or None.
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
