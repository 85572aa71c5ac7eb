"""The Inception network of the FID, of the TensorFlow release of 5 December 2015, whose features papers compare.

It is not the network of torchvision: average pools do not count the padding, the pool of the last block is a maximum,
and there are 1,008 classes. Batch normalisation, with a constant of 1e-3, is folded into the convolutions by
:func:`scorekit.io.formats.inception.convert`, which reads the published weights.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from scorekit.typing import Array

__all__ = ["SIDE", "TAPS", "InceptionV3"]

TAPS = ("64", "192", "768", "2048", "spatial", "logits_unbiased", "logits")
"""The outputs by name. "2048" (``pool_3``) is for the FID, "spatial" for the sFID."""
SIDE = 299
"""Pixels along a side of the images that the network was trained on."""
_SPATIAL_CHANNELS = 7  # the first channels of the convolution ``mixed_6/conv`` that the sFID compares at every position

_CLASSES = 1008

_Step = tuple[int, tuple[int, int]]  # features and window of a convolution


class InceptionV3(nn.Module):
    """Inception-v3 as the FID uses it, up to its logits, in float32 at the highest precision.

    Call it with images ``(B, H, W, 3)`` of the range [-1, 1], from :func:`scorekit.metrics.inception_input`; ``H`` and
    ``W`` are 299 for the published features and at least 75. The result is a dict of the outputs that :data:`TAPS`
    names: averages over positions ``(B, 64)``, ``(B, 192)``, ``(B, 768)`` and ``(B, 2048)`` after the first and second
    maximum pool, the 17 x 17 blocks and the last block; "spatial" ``(B, 17 * 17 * 7)``, without an average; and
    ``(B, 1008)`` logits, "logits_unbiased" without the bias of the last layer. Under ``jit`` unused outputs are
    not computed.

    >>> like = jax.ShapeDtypeStruct((2, 299, 299, 3), jnp.float32)
    >>> found, params = jax.eval_shape(InceptionV3().init_with_output, jax.random.key(0), like)
    >>> found["2048"].shape, found["spatial"].shape, found["logits"].shape
    ((2, 2048), (2, 2023), (2, 1008))

    Source: Szegedy et al. 2016 (https://arxiv.org/abs/1512.00567); as a metric, Heusel et al. 2017
    (https://arxiv.org/abs/1706.08500); "spatial", Nash et al. 2021 (https://arxiv.org/abs/2103.03841).
    """

    @nn.compact
    def __call__(self, x: Array) -> dict[str, Array]:
        found = {}
        x = _conv(x, 32, (3, 3), "Conv2d_1a_3x3", stride=2)
        x = _conv(x, 32, (3, 3), "Conv2d_2a_3x3", padding="VALID")
        x = _conv(x, 64, (3, 3), "Conv2d_2b_3x3")
        x = _shrunk(x)
        found["64"] = _average(x)
        x = _conv(x, 80, (1, 1), "Conv2d_3b_1x1")
        x = _conv(x, 192, (3, 3), "Conv2d_4a_3x3", padding="VALID")
        x = _shrunk(x)
        found["192"] = _average(x)
        for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = _Mixed35(pooled, name=name)(x)
        x = _To17(name="Mixed_6a")(x)
        for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = _Mixed17(inner, name=name)(x)
            if name == "Mixed_6d":  # its first channels are from the 1 x 1 convolution
                found["spatial"] = x[..., :_SPATIAL_CHANNELS].reshape(x.shape[0], -1)
        found["768"] = _average(x)
        x = _To8(name="Mixed_7a")(x)
        x = _Mixed8(maximum=False, name="Mixed_7b")(x)
        x = _Mixed8(maximum=True, name="Mixed_7c")(x)
        found["2048"] = x = _average(x)
        found["logits_unbiased"], found["logits"] = _Logits(name="fc")(x)
        return found


class _Mixed35(nn.Module):
    """A block at 35 x 35 positions."""

    pooled: int

    @nn.compact
    def __call__(self, x):
        return _joined(
            _conv(x, 64, (1, 1), "branch1x1"),
            _chain(x, "branch5x5", [(48, (1, 1)), (64, (5, 5))]),
            _chain(x, "branch3x3dbl", [(64, (1, 1)), (96, (3, 3)), (96, (3, 3))]),
            _conv(_mean(x), self.pooled, (1, 1), "branch_pool"),
        )


class _To17(nn.Module):
    """From 35 x 35 to 17 x 17 positions."""

    @nn.compact
    def __call__(self, x):
        double = _chain(x, "branch3x3dbl", [(64, (1, 1)), (96, (3, 3)), (96, (3, 3))], last_stride=2)
        return _joined(_conv(x, 384, (3, 3), "branch3x3", stride=2), double, _shrunk(x))


class _Mixed17(nn.Module):
    """A block at 17 x 17 positions, of separable windows of length 7."""

    inner: int

    @nn.compact
    def __call__(self, x):
        n = self.inner
        double = [(n, (1, 1)), (n, (7, 1)), (n, (1, 7)), (n, (7, 1)), (192, (1, 7))]
        return _joined(
            _conv(x, 192, (1, 1), "branch1x1"),
            _chain(x, "branch7x7", [(n, (1, 1)), (n, (1, 7)), (192, (7, 1))]),
            _chain(x, "branch7x7dbl", double),
            _conv(_mean(x), 192, (1, 1), "branch_pool"),
        )


class _To8(nn.Module):
    """From 17 x 17 to 8 x 8 positions."""

    @nn.compact
    def __call__(self, x):
        return _joined(
            _chain(x, "branch3x3", [(192, (1, 1)), (320, (3, 3))], last_stride=2),
            _chain(x, "branch7x7x3", [(192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3))], last_stride=2),
            _shrunk(x),
        )


class _Mixed8(nn.Module):
    """A block at 8 x 8 positions; the pool of the last one is a maximum."""

    maximum: bool

    @nn.compact
    def __call__(self, x):
        single = _conv(x, 384, (1, 1), "branch3x3_1")
        double = _chain(x, "branch3x3dbl", [(448, (1, 1)), (384, (3, 3))])
        pooled = nn.max_pool(x, (3, 3), padding="SAME") if self.maximum else _mean(x)
        return _joined(
            _conv(x, 320, (1, 1), "branch1x1"),
            *(_conv(single, 384, window, f"branch3x3_2{i}") for i, window in (("a", (1, 3)), ("b", (3, 1)))),
            *(_conv(double, 384, window, f"branch3x3dbl_3{i}") for i, window in (("a", (1, 3)), ("b", (3, 1)))),
            _conv(pooled, 192, (1, 1), "branch_pool"),
        )


class _Logits(nn.Module):
    """The last layer, without and with its bias."""

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], _CLASSES))
        unbiased = jnp.matmul(x, kernel, precision=jax.lax.Precision.HIGHEST)
        return unbiased, unbiased + self.param("bias", nn.initializers.zeros, (_CLASSES,))


def _conv(x: Array, features: int, window: tuple[int, int], name: str, stride: int = 1, padding: str = "") -> Array:
    padding = padding or ("SAME" if stride == 1 else "VALID")
    precision = jax.lax.Precision.HIGHEST
    return nn.relu(nn.Conv(features, window, stride, padding=padding, precision=precision, name=name)(x))


def _chain(x: Array, name: str, steps: Sequence[_Step], last_stride: int = 1) -> Array:
    """Convolutions one after another, named by their numbers from 1."""
    for i, (features, window) in enumerate(steps, 1):
        x = _conv(x, features, window, f"{name}_{i}", last_stride if i == len(steps) else 1)
    return x


def _shrunk(x: Array) -> Array:
    return nn.max_pool(x, (3, 3), (2, 2))


def _mean(x: Array) -> Array:
    return nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False)


def _average(x: Array) -> Array:
    return jnp.mean(x, axis=(1, 2))


def _joined(*branches: Array) -> Array:
    return jnp.concatenate(branches, axis=-1)
