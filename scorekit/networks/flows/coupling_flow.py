"""Flows of couplings: NICE, Real NVP, Glow, WaveGlow and neural spline flows, by their attributes."""

import jax.numpy as jnp

from scorekit.arguments import NonNegativeInt, PositiveInt
from scorekit.checks import check_floating
from scorekit.networks._module import Shape
from scorekit.networks._spatial import depth_to_space, space_to_depth
from scorekit.networks.embeddings import Conditioning
from scorekit.networks.flows._steps import ActNorm, Coupling, Flow, InvertibleConv
from scorekit.typing import Array, ArrayLike


class CouplingFlow(Flow, kw_only=True):
    """Couplings at several scales: both directions cost the same, and neither is sequential.

    A level folds patches into channels, then each of its steps computes::

        h = (h + b) exp(s);    h = h W;    h_2 = T(h_2; network(h_1, conditions))

    where T transforms each value (``transform``). After each level but the last, half of the channels are latents,
    normalised given the other half, which goes on to the next level. Vectors have no patches.

    NICE has ``transform="additive"``, Real NVP and Glow "affine"; WaveGlow is ``levels=1`` with ``patch=8`` on signals
    and a spectrogram as the map.

    Attributes:
      levels: number of levels.
      steps: steps of each level.
      features: width of the networks of the couplings.
      blocks: residual blocks of each of these networks; block i convolves with the dilation 2^i.
      patch: side of the patches that each level folds.
      map_shape: shape (H, W, C) or (T, C) of a conditioning image or dense map, of any size; None: no map.
      transform: the bijection of each value: ``v + b`` ("additive"), ``v exp(a) + b`` ("affine", a in [-3, 3]), or a
        monotone rational-quadratic "spline" of the latter.
      bins: bins of a spline.
      bound: half of the length of the interval in which a spline is not the identity.
      num_classes: number of classes; label ``num_classes`` (or no labels) is the null token. None: no classes.
      vector_size: length C of a conditioning vector; None: no vector.
      dtype: dtype of the computation.

    Source: Kingma and Dhariwal 2018 (https://arxiv.org/abs/1807.03039); Prenger et al. 2018, WaveGlow
    (https://arxiv.org/abs/1811.00002).
    """

    levels: PositiveInt = 2
    steps: PositiveInt = 4
    features: PositiveInt = 64
    blocks: NonNegativeInt = 2
    patch: PositiveInt = 2
    map_shape: Shape | None = None

    def setup(self):
        """The parts of both directions."""
        sizes = self.features, self.blocks, self.map_shape, self.dtype
        coupling = lambda transform: Coupling(transform, self.bins, self.bound, *sizes)
        each = range(self.levels * self.steps)
        self.norms, self.mixes = [ActNorm() for _ in each], [InvertibleConv() for _ in each]
        self.couplings = [coupling(self.transform) for _ in each]
        self.splits = [coupling("affine") for _ in range(self.levels - 1)]
        if self.num_classes is not None or self.vector_size is not None:
            self.conditioning = Conditioning(self.features, self.num_classes, self.vector_size)

    def _forward(self, x, labels, vector, dense_map):
        return self._run(x, labels, vector, dense_map, False)

    def _inverse(self, z, labels, vector, dense_map):
        return self._run(z, labels, vector, dense_map, True)

    def _run(self, x: ArrayLike, labels, vector, dense_map, inverse: bool) -> tuple[Array, Array]:
        check_floating(x=x)
        x = jnp.asarray(x, jnp.float32)
        self._check(x)
        if x.ndim == 2 and dense_map is not None:
            raise ValueError("dense_map must be None for data (B, D), whose conditions are labels and vector")
        total = None
        if self.num_classes is not None or self.vector_size is not None:
            total = self.conditioning(0.0, labels, x.shape[0], vector)
        elif labels is not None or vector is not None:
            raise ValueError("labels and vector must be None for a flow with num_classes=None and vector_size=None")
        return self._level(x, (total, dense_map), 0, inverse)

    def _check(self, x: Array) -> None:
        if x.ndim not in (2, 3, 4):
            raise ValueError(f"x must have shape (B, D), (B, L, C) or (B, H, W, C), got {x.shape}")
        rank, channels = x.ndim - 2, x.shape[-1]
        if rank == 0 and self.map_shape is not None:
            raise ValueError("map_shape must be None for vectors, whose conditions are labels and vector")
        size = self.patch**self.levels
        if any(side % size for side in x.shape[1:-1]):
            raise ValueError(f"sides of x must be divisible by patch ** levels = {size}, got {x.shape[1:-1]}")
        for level in range(self.levels):
            channels *= self.patch**rank
            if channels < 2 or (level < self.levels - 1 and channels % 2):
                raise ValueError(
                    f"x must have at least 2 channels at each level, and an even number at each but the last, got "
                    f"{channels} at level {level} of {self.levels}"
                )
            channels //= 1 if level == self.levels - 1 else 2

    def _level(self, h: Array, conditions: tuple, level: int, inverse: bool) -> tuple[Array, Array]:
        """Level ``level`` and those after it, on data or on latents."""
        patch = (self.patch,) * (h.ndim - 2)
        h = space_to_depth(h, patch) if patch else h
        log_det, more = jnp.zeros(h.shape[0], h.dtype), level < self.levels - 1
        if more and inverse:
            h, log_det = self._later(h, conditions, level, inverse)
        steps = range(level * self.steps, (level + 1) * self.steps)
        for i in reversed(steps) if inverse else steps:
            h, change = self._step(i, h, conditions, inverse)
            log_det = log_det + change
        if more and not inverse:
            h, change = self._later(h, conditions, level, inverse)
            log_det = log_det + change
        return (depth_to_space(h, patch) if patch else h), log_det

    def _step(self, i: int, h: Array, conditions: tuple, inverse: bool) -> tuple[Array, Array]:
        if inverse:
            h, of_coupling = self._coupled(i, h, conditions, inverse)
            h, of_mix = self.mixes[i](h, inverse)
            h, of_norm = self.norms[i](h, inverse)
        else:
            h, of_norm = self.norms[i](h)
            h, of_mix = self.mixes[i](h)
            h, of_coupling = self._coupled(i, h, conditions, inverse)
        return h, of_norm + of_mix + of_coupling

    def _coupled(self, i: int, h: Array, conditions: tuple, inverse: bool) -> tuple[Array, Array]:
        first, second = jnp.split(h, [h.shape[-1] // 2], axis=-1)
        second, log_det = self.couplings[i](first, second, conditions, inverse)
        return jnp.concatenate([first, second], axis=-1), log_det

    def _later(self, h: Array, conditions: tuple, level: int, inverse: bool) -> tuple[Array, Array]:
        """The second half of the channels is normalised given the first, which the next levels transform."""
        first, second = jnp.split(h, 2, axis=-1)
        latent, of_first = self._level(first, conditions, level + 1, inverse)
        second, of_second = self.splits[level](latent if inverse else first, second, conditions, inverse)
        return jnp.concatenate([latent, second], axis=-1), of_first + of_second
