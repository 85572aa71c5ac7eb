"""The causal WaveNet in PyTorch, for comparisons: the same function, trained from the same weights on the same batches.

    PYTHONPATH=. python tests/experiments/torch_wavenet.py --config=experiments/configs/sequences/digits_wavenet.py

Both networks see the classes and no coordinates, and both are trained as the config says: its optimiser, schedule,
clipping, weight decay and dropout, with the classes of the same examples dropped. The program prints bits per symbol of
held-out data of the last weights, before and after. Needs torch.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]
from torch.nn import functional as F  # pyright: ignore[reportMissingImports]
from torch_unet import Conditioning, sizes_of

from experiments import tasks, training
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, require
from experiments.data.symbols import Symbols
from experiments.models import sequences
from experiments.reporting.report import Table, tables_as_text
from scorekit import autoregressive as ar
from scorekit.training import learning_rate_schedule

SIZES = ("outputs", "num_codes", "channels", "layers", "cycle", "dilation_base", "taps", "num_classes", "dropout")
"""The attributes of the Flax network that may have any value; of all others, the defaults."""


class CausalWaveNet(nn.Module):
    """The network; its call is ``(x, labels)`` with codes ``(B, L)``, to logits ``(B, L, outputs)``."""

    def __init__(self, outputs, num_codes, channels, layers, cycle, dilation_base, taps, num_classes, dropout):
        super().__init__()
        self.layers, self.taps, self.num_classes = layers, taps, num_classes
        self.dilations = [dilation_base ** (j % cycle) for j in range(layers)]
        self.conditioning = Conditioning(4 * channels, num_classes, 0)
        self.embed, self.begin = nn.Embedding(num_codes, channels), nn.Parameter(torch.zeros(channels))
        self.convs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, taps, dilation=d) for d in self.dilations)
        self.noises = nn.ModuleList(nn.Linear(4 * channels, 2 * channels) for _ in self.dilations)
        self.closes = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in self.dilations)
        self.drop = nn.Dropout(dropout)
        self.skips, self.output = nn.Conv1d(channels, channels, 1), nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Any, labels: Any = None) -> Any:
        condition = self.conditioning(torch.zeros(len(x)), labels)
        begin = self.begin.expand(len(x), 1, -1)
        h = torch.cat([begin, self.embed(x)[:, :-1]], 1).transpose(1, 2)
        total = torch.zeros_like(h)
        for d, conv, noise, close in zip(self.dilations, self.convs, self.noises, self.closes, strict=True):
            z = conv(F.pad(h, ((self.taps - 1) * d, 0))) + noise(condition)[:, :, None]
            a, b = z.chunk(2, 1)
            r, s = close(self.drop(a.tanh() * b.sigmoid())).chunk(2, 1)
            h, total = (h + r) * math.sqrt(0.5), total + s
        return self.output(F.silu(self.skips(total / math.sqrt(self.layers)))).transpose(1, 2)


def like(network: Any, params: Mapping[str, Any]) -> CausalWaveNet:
    """The network of the same sizes and parameters as a Flax one, whose inputs must be codes."""
    sizes = sizes_of(network, SIZES, "remat")
    if network.num_codes is None:
        raise ValueError("num_codes must be set for the network in PyTorch, got None")
    module = CausalWaveNet(**sizes)
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


def compare(config: Config, model: sequences.Sequences, dataset: Symbols) -> Compared:
    """Trains both networks from the same weights on the same batches, as the section ``training`` says.

    Both have the same inputs and dropped classes in every batch, the optimiser and its schedule, clipping, decay of the
    same parameters and the rate of dropout, of which each draws its own masks; measured are the last weights of each,
    not an average.
    """
    options, params = config.training, sequences.init_params(model, jax.random.key(config.seed))
    module, test = like(model.module, params), dataset.test
    prepare = jax.jit(sequences.make_prepare(model, dataset, config.loss.label_dropout))
    key, loss, optimizer = jax.random.key(config.seed), sequences.make_loss(model), training.build_optimizer(options)
    batches = [
        prepare(jax.random.fold_in(key, i), dataset.batch(config.seed, i, options.batch_size))
        for i in range(options.steps)
    ]

    @jax.jit
    def step(params, state, batch):
        gradient = jax.grad(lambda params: loss(params, batch)[0].mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    measure = jax.jit(
        lambda params: -ar.log_prob(sequences.conditionals(model, params, jnp.asarray(test["label"])), test["x"]).mean()
    )
    ours = lambda params: float(measure(params)) / (model.length * math.log(2))

    def nats(x, labels):
        codes = torch.from_numpy(np.array(x)).long()
        logits = module(codes, torch.from_numpy(np.array(labels)).long())
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())

    def theirs():
        module.eval()
        with torch.no_grad():
            return nats(test["x"], test["label"]).item() / math.log(2)

    before, state = (ours(params), theirs()), optimizer.init(params)
    jax.block_until_ready(step(params, state, batches[0]))  # compiles
    start = time.process_time()
    for batch in batches:
        params, state = step(params, state, batch)
    jax.block_until_ready(params)
    middle = time.process_time()
    module.train()
    update = _torch_update(module, options)
    for i, batch in enumerate(batches):
        module.zero_grad()
        nats(batch["x"], batch["labels"]).backward()
        update(i)
    end = time.process_time()
    return Compared(before, (ours(params), theirs()), (middle - start, end - middle))


def _torch_update(module: CausalWaveNet, options: Config) -> Callable[[int], None]:
    """``i -> None``: clips the gradient and takes step i of AdamW.

    Decayed is what has two axes in the Flax network, with all parameters of its stacked layers.
    """
    stacked = ("convs.", "noises.", "closes.")
    named = list(module.named_parameters())
    decayed = [p for name, p in named if p.ndim > 1 or name.startswith(stacked)]
    others = [p for name, p in named if not (p.ndim > 1 or name.startswith(stacked))]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.learning_rate, betas=tuple(options.betas or training.BETAS))
    schedule = learning_rate_schedule(
        options.learning_rate, options.warmup_steps, options.steps, options.final_fraction, options.decay_start
    )
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(options.steps)))

    def update(i):
        if options.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), options.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = float(rates[i])
        optimizer.step()

    return update


def main(config: Config) -> None:
    if config.task != "sequence":
        raise ConfigError("--config: must be the config of a model of sequences")
    tasks.sequence.check(config)
    name, optimizer = config.network.name, config.training.optimizer
    require(name == "causal_wavenet", "network.name", name, "causal_wavenet, which there is in PyTorch")
    require(optimizer in (None, "adamw"), "training.optimizer", optimizer, "adamw, which there is in PyTorch")
    dataset = sequences.load_data(config)
    model = sequences.build_model(config, dataset, with_positions=False)
    found = compare(config, model, dataset)
    rows = [
        [framework, found.before[i], found.after[i], found.seconds[i]] for i, framework in enumerate(("jax", "torch"))
    ]
    apart = found.after[0] / found.after[1] - 1
    size = sum(leaf.size for leaf in jax.tree.leaves(sequences.init_params(model, jax.random.key(0))))
    caption = (
        f"Bits per symbol of held-out data, {size:,} parameters each; after {config.training.steps} updates apart "
        f"by {apart:+.2%}."
    )
    print(tables_as_text([Table(["", "before", "after", "CPU s of the updates"], rows, caption)]))


if __name__ == "__main__":
    chosen = shared.config("Config file of an autoregressive WaveNet.")
    command_line.run(main, lambda: chosen.value, tasks.check_fields)
