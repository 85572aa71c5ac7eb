"""The U-Net of :class:`scorekit.networks.UNet` in PyTorch, for comparisons of speed: the same function and parameters.

    PYTHONPATH=. python tests/experiments/torch_unet.py --config=experiments/configs/images/digits.py

Its modules have the names of the Flax parameters. Written for images with or without classes, of the sizes that
:data:`SIZES` names; needs torch. As a program it prints milliseconds of the forward pass and the training step (AdamW,
the norm of the gradient clipped, one average), eager and by ``torch.compile`` where that works, in turns with the
minimal implementation in JAX of ``python -m experiments.benchmarks.cost --table=step``; the ratio is PyTorch's time
over that of JAX.
"""

import copy
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from experiments import training
from experiments.benchmarks.cost.step import minimal_step, prepared
from experiments.benchmarks.measuring import in_turns
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base
from experiments.data.dataset import preprocess
from experiments.models.conditioning import conditions
from experiments.models.model import network as network_of

SIZES = ("channels", "multipliers", "blocks", "attention_resolutions", "heads", "num_classes", "conditioning_layers")
"""The attributes of the Flax network that may have any value; of all others, the defaults."""


class UNet(nn.Module):
    """The network; its call is ``(x, noise, labels=None)`` with channels first, ``x`` ``(B, C, H, W)``."""

    def __init__(
        self,
        side: int,
        image_channels: int,
        *,
        channels: int = 32,
        multipliers: Sequence[int] = (1, 2),
        blocks: int = 1,
        attention_resolutions: Sequence[int] = (),
        heads: int = 1,
        num_classes: int | None = None,
        conditioning_layers: int = 0,
    ):
        super().__init__()
        self.blocks, self.num_classes, embedded = blocks, num_classes, 4 * channels
        widths = [channels * m for m in multipliers]
        self.levels, attends = len(widths), [side // 2**i in attention_resolutions for i in range(len(widths))]

        def stage(name: str, before: int, level: int) -> None:
            self.add_module(f"{name}_block", ResidualBlock(before, widths[level], embedded))
            if attends[level]:
                self.add_module(f"{name}_attention", Attention(widths[level], heads))

        self.conditioning = Conditioning(embedded, num_classes, conditioning_layers)
        self.input = nn.Conv2d(image_channels, channels, 3, padding=1)
        self.around_film = nn.Linear(embedded, channels)
        before = channels
        for level, width in enumerate(widths):
            if level:
                self.add_module(f"down{level}_halve", nn.Conv2d(before, width, 3, stride=2))
            for i in range(blocks):
                stage(f"down{level}_{i}", width if i or level else channels, level)
            before = width
        stage("middle", before, self.levels - 1)
        for level, width in reversed(list(enumerate(widths))):
            for i in range(blocks):
                stage(f"up{level}_{i}", (width if i else before) + width, level)
            if level:
                self.add_module(f"up{level}_double", nn.Conv2d(width, widths[level - 1], 1))
                before = widths[level - 1]
        self.norm = group_norm(channels * multipliers[0])
        self.around = nn.Conv2d(channels, image_channels, 1)
        self.output = nn.Conv2d(channels * multipliers[0], image_channels, 3, padding=1)

    def stage(self, name: str, h: Any, total: Any) -> Any:
        """A residual block, then attention where there is one."""
        h = getattr(self, f"{name}_block")(h, total)
        return getattr(self, f"{name}_attention")(h) if hasattr(self, f"{name}_attention") else h

    def forward(self, x: Any, noise: Any, labels: Any = None) -> Any:
        total = self.conditioning(noise, labels)
        h = linear = self.input(x)
        skips = []
        for level in range(self.levels):
            if level:  # Flax pads an even side on the right only
                h = getattr(self, f"down{level}_halve")(F.pad(h, (0, 1, 0, 1)))
            for i in range(self.blocks):
                h = self.stage(f"down{level}_{i}", h, total)
                skips.append(h)
        h = self.stage("middle", h, total)
        for level in reversed(range(self.levels)):
            for i in range(self.blocks):
                h = self.stage(f"up{level}_{i}", torch.cat([h, skips.pop()], 1), total)
            if level:
                h = F.interpolate(getattr(self, f"up{level}_double")(h), scale_factor=2, mode="nearest")
        skip = self.around(linear * (1 + self.around_film(total))[:, :, None, None])
        return skip + self.output(F.silu(self.norm(h)))


class Conditioning(nn.Module):
    """The embedding of noise level and class."""

    def __init__(self, features: int, num_classes: int | None, layers: int):
        super().__init__()
        self.num_classes, self.layers = num_classes, layers
        self.register_buffer("frequencies", torch.from_numpy(np.geomspace(0.25, 32.0, features // 2, dtype=np.float32)))
        self.noise_in, self.noise_out = nn.Linear(features, features), nn.Linear(features, features)
        if num_classes is not None:
            self.labels = nn.Embedding(num_classes + 1, features)
        for i in range(layers):
            self.add_module(f"hidden_{i}", nn.Linear(features, features))

    def forward(self, noise: Any, labels: Any) -> Any:
        angles = noise[:, None] * self.frequencies
        total = self.noise_out(F.silu(self.noise_in(torch.cat([angles.sin(), angles.cos()], 1))))
        if self.num_classes is not None:
            null = torch.full(noise.shape, self.num_classes, device=noise.device)
            total = total + self.labels(null if labels is None else labels)
        total = F.silu(total)
        for i in range(self.layers):
            total = F.silu(getattr(self, f"hidden_{i}")(total))
        return total


class ResidualBlock(nn.Module):
    """``shortcut(x) + conv0(silu(norm(conv(silu(norm(x)))) (1 + scale) + shift))``."""

    def __init__(self, before: int, features: int, embedded: int):
        super().__init__()
        self.film = nn.Linear(embedded, 2 * features)
        self.norm_1, self.norm_2 = group_norm(before), group_norm(features, False)
        self.conv_1 = nn.Conv2d(before, features, 3, padding=1)
        self.conv_2 = nn.Conv2d(features, features, 3, padding=1)
        self.shortcut = nn.Identity() if before == features else nn.Conv2d(before, features, 1)

    def forward(self, x: Any, total: Any) -> Any:
        scale, shift = self.film(total)[:, :, None, None].chunk(2, 1)
        h = self.conv_1(F.silu(self.norm_1(x)))
        return self.shortcut(x) + self.conv_2(F.silu(self.norm_2(h) * (1 + scale) + shift))


class Attention(nn.Module):
    """Self-attention over all positions."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads, self.norm = heads, group_norm(channels)
        self.qkv, self.close = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Any) -> Any:
        batch, channels, *sides = x.shape
        h = self.qkv(self.norm(x).flatten(2).transpose(1, 2))
        q, k, v = h.reshape(batch, -1, 3, self.heads, channels // self.heads).permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.close(h).transpose(1, 2).reshape(batch, channels, *sides)


def group_norm(channels: int, affine: bool = True) -> Any:
    """Groups of 8 channels where their number allows it."""
    return nn.GroupNorm(channels // math.gcd(channels, 8), channels, affine=affine)


def like(network: Any, shape: Sequence[int]) -> UNet:
    """The network of the same sizes as a Flax one, for images ``(H, W, C)``."""
    return UNet(shape[0], shape[2], **sizes_of(network, SIZES))


def sizes_of(network: Any, sizes: Sequence[str], *others: str) -> dict[str, Any]:
    """These attributes of a Flax network; a ``ValueError`` names an attribute apart from them and ``others`` that is
    not at its default."""
    for name, field in type(network).__dataclass_fields__.items():
        value = getattr(network, name, None)
        if name not in (*sizes, "parent", "name", "dtype", *others) and value != field.default:
            raise ValueError(f"{name} must be {field.default} for the network in PyTorch, got {value}")
    return {name: getattr(network, name) for name in sizes}


def copy_params(module: UNet, params: Mapping[str, Any]) -> UNet:
    """Copies all parameters of the Flax network into ``module``, and returns it."""
    with torch.no_grad():
        for name, target in module.named_parameters():
            *path, last = name.split(".")
            there: Any = params
            for part in path:
                there = there[part]
            norm, table = "scale" in there, "embedding" in there
            value = np.asarray(
                there[
                    {
                        "weight": "scale" if norm else "embedding" if table else "kernel",
                        "bias": "shift" if norm else "bias",
                    }[last]
                ]
            )
            if value.ndim == 4:
                value = value.transpose(3, 2, 0, 1)
            elif value.ndim == 2 and not table:
                value = value.T
            target.copy_(torch.from_numpy(np.array(value, order="C")))
    return module


class Peer:
    """The forward pass and the training step in PyTorch of a Flax network with its parameters, for images ``(H, W, C)``
    and the ``options`` of the section ``training`` of a config."""

    def __init__(self, network: Any, params: Mapping[str, Any], options: Any, shape: Sequence[int]):
        if type(network).__name__ != "UNet" or len(shape) != 3:
            raise ValueError(f"the network must be a U-Net for images, got {type(network).__name__} of {tuple(shape)}")
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._options = options
        self._module = copy_params(like(network, shape), params).to(self._device)

    def variants(self) -> Iterator[tuple[str, "Variant"]]:
        """Eager, and compiled."""
        yield "eager", Variant(copy.deepcopy(self._module), self._options, self._device, lambda module: module)
        yield "torch.compile", Variant(copy.deepcopy(self._module), self._options, self._device, torch.compile)


class Variant:
    """One way to run the network; every call waits for its result."""

    def __init__(self, module: UNet, options: Any, device: str, wrap: Any):
        self._run, self._device, self._average = wrap(module), device, copy.deepcopy(module)
        self._params, self._clip = [*module.parameters()], options.clip_norm
        self._optimizer = torch.optim.AdamW(self._params, options.learning_rate, weight_decay=options.weight_decay)
        self._classes = module.num_classes is not None

    def _placed(self, x: np.ndarray, label: np.ndarray) -> tuple[Any, Any]:
        x_first = torch.from_numpy(np.array(x.transpose(0, 3, 1, 2), order="C")).to(self._device)
        return x_first, torch.from_numpy(np.array(label)).to(self._device) if self._classes else None

    def forward(self, x: np.ndarray, label: np.ndarray) -> float:
        """A value of the network's output at a noise level of 0."""
        x_first, labels = self._placed(x, label)
        with torch.no_grad():
            return self._run(x_first, torch.zeros(len(x), device=self._device), labels).flatten()[0].item()

    def step(self, x: np.ndarray, label: np.ndarray) -> float:
        """The loss of a training step: the noise of a cosine schedule is predicted."""
        x_first, labels = self._placed(x, label)
        t, eps = torch.rand(len(x), device=self._device), torch.randn_like(x_first)
        alpha, sigma = torch.cos(t * math.pi / 2)[:, None, None, None], torch.sin(t * math.pi / 2)[:, None, None, None]
        noise = (torch.log(alpha / sigma) / 2).clamp(-5, 5).flatten()
        loss = F.mse_loss(self._run(alpha * x_first + sigma * eps, noise, labels), eps)
        self._optimizer.zero_grad()
        loss.backward()
        if self._clip:
            nn.utils.clip_grad_norm_(self._params, self._clip)
        self._optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_([*self._average.parameters()], self._params, 1e-3)
        return loss.item()


def compare(config: Config, turns: int) -> None:
    """Prints milliseconds of both frameworks, or why there are none."""
    dataset, model, params = prepared(config)
    try:
        peer = Peer(model.module, params["params"], config.training, dataset.shape)
    except ValueError as error:
        print(f"no rows of PyTorch: {error}")
        return
    size = config.training.batch_size
    batch = {"x": dataset.train["x"][:size], "label": dataset.train["label"][:size]}
    plain, given = preprocess(dataset, batch), conditions(model, batch)
    x, noise, label = jnp.asarray(plain["x"]), jnp.zeros(len(plain["x"])), np.asarray(plain["label"])
    raw = np.asarray(x)
    optimizer = training.build_optimizer(config.training)
    state = [jax.tree.map(jnp.copy, (params, optimizer.init(params), params, jnp.int32(0)))]
    step = minimal_step(model, dataset, optimizer)
    forward = jax.jit(lambda params, x: network_of(model, params, given)(x, noise))

    def ours():
        state[0], value = step(state[0], batch)
        return value

    print(f"\n{'milliseconds':44}{'JAX':>12}{'PyTorch':>12}{'ratio':>8}")
    for name, theirs in peer.variants():
        pairs = {
            "forward pass": (lambda: forward(params, x), functools.partial(theirs.forward, raw, label)),
            "training step": (ours, functools.partial(theirs.step, raw, label)),
        }
        for what, (a, b) in pairs.items():
            try:
                jax.block_until_ready((a(), b()))
            except Exception as error:  # torch.compile needs a compiler of C++
                print(f"{what}, {name}: does not run ({type(error).__name__})")
                continue
            timing = in_turns(a, b, turns)
            print(f"{what + ', ' + name:44}{1e3 * timing.ours:12.4g}{1e3 * timing.theirs:12.4g}{1 / timing.ratio:8.3f}")


if __name__ == "__main__":
    chosen, repetitions = shared.config(), shared.count("turns", 20, "Repetitions of each pair.")
    command_line.run(lambda config: compare(config, repetitions.value), lambda: chosen.value, base.check_fields)
