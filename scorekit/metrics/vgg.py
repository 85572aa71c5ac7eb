"""The VGG network with 16 layers, whose features stand in where the weights of the Inception network are not at hand.

Distances of its features are no FID, and not comparable with one. :func:`scorekit.io.formats.vgg.load` reads weights.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.arguments import checked
from scorekit.metrics.resizing import Convention, resize
from scorekit.typing import Array, ArrayLike

__all__ = ["MEAN", "SIDE", "STAGES", "STD", "TAPS", "VGG16", "vgg_input"]

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Features and number of the convolutions between two maximum pools."""
TAPS = tuple(f"relu{stage}_{convolutions}" for stage, (_, convolutions) in enumerate(STAGES, 1))
"""The outputs by name; "relu5_3" is for the Fréchet distance."""
SIDE = 224
"""Pixels along a side of the images that the network was trained on."""
MEAN = (0.485, 0.456, 0.406)
"""Means of the colours of ImageNet in [0, 1], by which inputs are normalised."""
STD = (0.229, 0.224, 0.225)
"""Standard deviations of the same colours."""


class VGG16(nn.Module):
    """The convolutions of VGG-16 (torchvision's ``vgg16().features``), in float32 at the highest precision.

    Call it with images ``(B, H, W, 3)`` from :func:`vgg_input`; ``H`` and ``W`` are 224 for the published features and
    at least 16. The result is a dict of the outputs that :data:`TAPS` names: averages over positions ``(B, 64)``,
    ``(B, 128)``, ``(B, 256)``, ``(B, 512)`` and ``(B, 512)`` of the last activations before each maximum pool.

    >>> like = jax.ShapeDtypeStruct((2, 224, 224, 3), jnp.float32)
    >>> found, params = jax.eval_shape(VGG16().init_with_output, jax.random.key(0), like)
    >>> found["relu5_3"].shape, params["params"]["conv5_3"]["kernel"].shape
    ((2, 512), (3, 3, 512, 512))

    Source: Simonyan & Zisserman 2015 (https://arxiv.org/abs/1409.1556).
    """

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        found = {}
        for stage, (features, convolutions) in enumerate(STAGES, 1):
            x = x if stage == 1 else nn.max_pool(x, (2, 2), (2, 2))
            for i in range(1, convolutions + 1):
                conv = nn.Conv(features, (3, 3), precision=jax.lax.Precision.HIGHEST, name=f"conv{stage}_{i}")
                x = nn.relu(conv(x))
            found[TAPS[stage - 1]] = jnp.mean(x, axis=(1, 2))
        return found


@checked
def vgg_input(images: ArrayLike, convention: Convention) -> Array:
    """Images as the VGG network receives them: resized to 224 pixels a side, ``(x / 255 - mean) / std`` of ImageNet.

    Args:
      images: ``(B, H, W, C)`` with values from 0 to 255; C is 3, or 1 (grey), which is repeated.
      convention: see :func:`scorekit.metrics.resize`.

    >>> x = vgg_input(jnp.full((2, 32, 32, 1), 255), "clean")
    >>> x.shape, [round(float(value), 3) for value in x[0, 0, 0]]
    ((2, 224, 224, 3), [2.249, 2.429, 2.64])

    Source: Simonyan & Zisserman 2015 (https://arxiv.org/abs/1409.1556); the constants are torchvision's.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise ValueError(f"images must be (B, H, W, C) with C 1 or 3, got {images.shape}")
    return (resize(images, SIDE, convention) / 255.0 - jnp.array(MEAN)) / jnp.array(STD)
