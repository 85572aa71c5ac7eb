"""The causal WaveNet in PyTorch, for comparisons: the same function, trained from the same weights on the same batches.

    python -m experiments.benchmarks.torch_wavenet --config=experiments/configs/sequences/digits_wavenet.py --steps=300

Both networks see the classes and no coordinates, both are trained by Adam at a constant learning rate; the program
prints bits per symbol of held-out data before and after. Needs torch.
"""

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]

from experiments.benchmarks.torch_unet import Conditioning
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import kinds
from experiments.data.symbols import Symbols
from experiments.models import sequences
from experiments.reporting.report import Table, tables_as_text
from experiments.sequences import runs
from scorekit import autoregressive as ar

_CONFIG = shared.config("Config file of an autoregressive WaveNet.")
_STEPS = shared.count("steps", 300, "Updates.")

SIZES = ("outputs", "num_codes", "channels", "layers", "cycle", "dilation_base", "taps", "num_classes")
"""The attributes of the Flax network that may have any value; of all others, the defaults."""


class CausalWaveNet(nn.Module):
    """The network; its call is ``(x, labels)`` with codes ``(B, L)``, to logits ``(B, L, outputs)``."""

    def __init__(self, outputs, num_codes, channels, layers, cycle, dilation_base, taps, num_classes):
        super().__init__()
        self.layers, self.taps, self.num_classes = layers, taps, num_classes
        self.dilations = [dilation_base ** (j % cycle) for j in range(layers)]
        self.conditioning = Conditioning(4 * channels, num_classes, 0)
        self.embed, self.begin = nn.Embedding(num_codes, channels), nn.Parameter(torch.zeros(channels))
        self.convs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, taps, dilation=d) for d in self.dilations)
        self.noises = nn.ModuleList(nn.Linear(4 * channels, 2 * channels) for _ in self.dilations)
        self.closes = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in self.dilations)
        self.skips, self.output = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        condition = self.conditioning(torch.zeros(len(x)), labels)
        begin = self.begin.expand(len(x), 1, -1)
        h = torch.cat([begin, self.embed(x)[:, :-1]], 1).transpose(1, 2)
        total = torch.zeros_like(h)
        for d, conv, noise, close in zip(self.dilations, self.convs, self.noises, self.closes, strict=True):
            z = conv(F.pad(h, ((self.taps - 1) * d, 0))) + noise(condition)[:, :, None]
            a, b = z.chunk(2, 1)
            r, s = close(a.tanh() * b.sigmoid()).chunk(2, 1)
            h, total = (h + r) * math.sqrt(0.5), total + s
        return self.output(F.silu(self.skips(total / math.sqrt(self.layers)))).transpose(1, 2)


def like(network: Any, params: Mapping[str, Any]) -> CausalWaveNet:
    """The network of the same sizes and parameters as a Flax one.

    Neither has dropout, whose key nobody gives.

    Raises:
      ValueError: if an attribute outside :data:`SIZES` has another value than its default, or the inputs are no codes.
    """
    for name, field in type(network).__dataclass_fields__.items():
        value = getattr(network, name, None)
        if name not in (*SIZES, "parent", "name", "dtype", "remat", "dropout") and value != field.default:
            raise ValueError(f"{name} must be {field.default} for the network in PyTorch, got {value}")
    if network.num_codes is None:
        raise ValueError("num_codes must be set for the network in PyTorch, got None")
    module = CausalWaveNet(**{name: getattr(network, name) for name in SIZES})
    tree = jax.tree.map(np.asarray, params["params"])
    for part, there in tree["conditioning"].items():
        target = getattr(module.conditioning, part)
        _set(target.weight, there["embedding"] if part == "labels" else there["kernel"].T)
        if part != "labels":
            _set(target.bias, there["bias"])
    _set(module.embed.weight, tree["inputs"]["embed"]["embedding"])
    _set(module.begin, tree["inputs"]["begin"])
    for layer in range(network.layers):
        i, j = divmod(layer, network.cycle)
        of = lambda name, i=i, j=j: {k: v[i] for k, v in tree["blocks"][f"{name}_{j}"].items()}
        conv = of("conv")
        kernel = conv["kernel"].reshape(network.taps, network.channels, -1)  # the newest input first
        _set(module.convs[layer].weight, kernel[::-1].transpose(2, 1, 0))
        _set(module.convs[layer].bias, conv["bias"])
        _dense(module.noises[layer], of("noise"))
        _dense(module.closes[layer], of("close"))
    _dense(module.skips, tree["skips"])
    _dense(module.output, tree["output"])
    return module


def _dense(target: Any, there: Mapping[str, np.ndarray]) -> None:
    _set(target.weight, there["kernel"].T.reshape(target.weight.shape))
    _set(target.bias, there["bias"])


def _set(target: Any, value: np.ndarray) -> None:
    with torch.no_grad():
        target.copy_(torch.from_numpy(np.array(value, order="C")))


class Compared(NamedTuple):
    """Bits per symbol of held-out data of both networks, before and after training, and their CPU seconds of it."""

    before: tuple[float, float]
    after: tuple[float, float]
    seconds: tuple[float, float]


def compare(
    model: sequences.Sequences, dataset: Symbols, steps: int, batch_size: int, learning_rate: float, seed: int = 0
) -> Compared:
    """Trains both networks from the same weights on the same batches.

    Raises:
      ValueError: for a network that :func:`like` does not know.
    """
    params = sequences.init_params(model, jax.random.key(seed))
    module, test = like(model.module, params), dataset.test
    batches = [dataset.batch(seed, i, batch_size) for i in range(steps)]
    optimizer = optax.adam(learning_rate)

    def nats(params, x, labels):
        return -ar.log_prob(sequences.conditionals(model, params, labels), x).mean() / model.length

    @jax.jit
    def step(params, state, x, labels):
        updates, state = optimizer.update(jax.grad(nats)(params, x, labels), state)
        return optax.apply_updates(params, updates), state

    measure = jax.jit(nats)
    ours = lambda params: float(measure(params, test["x"], jnp.asarray(test["label"]))) / math.log(2)
    other = torch.optim.Adam(module.parameters(), learning_rate)

    def loss(x, labels):
        codes = torch.from_numpy(np.array(x)).long()
        logits = module(codes, torch.from_numpy(np.array(labels)).long())
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())

    def theirs():
        with torch.no_grad():
            return loss(test["x"], test["label"]).item() / math.log(2)

    before, state = (ours(params), theirs()), optimizer.init(params)
    jax.block_until_ready(step(params, state, batches[0]["x"], jnp.asarray(batches[0]["label"])))  # compiles
    start = time.process_time()
    for batch in batches:
        params, state = step(params, state, batch["x"], jnp.asarray(batch["label"]))
    jax.block_until_ready(params)
    middle = time.process_time()
    for batch in batches:
        other.zero_grad()
        loss(batch["x"], batch["label"]).backward()
        other.step()
    end = time.process_time()
    return Compared(before, (ours(params), theirs()), (middle - start, end - middle))


def main(config: Config) -> None:
    if not kinds.is_sequence(config):
        raise ConfigError(f"--config={_CONFIG.value}: must be the config of a model of sequences")
    runs.check(config)
    name = config.network.name
    if name != "causal_wavenet":
        raise ConfigError(f"config.network.name={name}: must be causal_wavenet, which there is in PyTorch")
    dataset = sequences.load_data(config)
    model = sequences.without_positions(config, dataset)
    found = compare(
        model, dataset, _STEPS.value, config.training.batch_size, config.training.learning_rate, config.seed
    )
    rows = [
        [framework, found.before[i], found.after[i], found.seconds[i]] for i, framework in enumerate(("jax", "torch"))
    ]
    apart = found.after[0] / found.after[1] - 1
    caption = f"Bits per symbol of held-out data; after {_STEPS.value} updates they differ by {apart:+.2%}."
    print(tables_as_text([Table(["", "before", "after", "CPU s of the updates"], rows, caption)]))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, kinds.check_fields)
