"""The cost of a training step and of a sample on the devices at hand, over that of minimal implementations.

    python -m experiments.benchmarks.cost --config=experiments/configs/images/digits.py
    python -m experiments.benchmarks.cost --config=… --config.training.batch_size=512 --config.network.remat=True

The minimal step is ``jax.jit`` of ``value_and_grad``
and optax at the same network, batch and precision, with one average of the parameters; it drops no conditions, checks
nothing and accumulates nothing. The minimal sampler is a scan of as many network calls as the solver makes, on twice
the batch where guidance needs a second branch. Compilation is measured without the cache of compiled programs.
Utilisation counts the matrix products and convolutions of the minimal step (with those that ``remat`` computes twice),
over the peak of the devices: the published one of dense products, of float32 with the default precision of JAX (TF32 on
GPUs, bfloat16 on TPUs), or the speed of a large product where the device is not in the table. Waiting is the fraction
of the time of some training steps, fed as in ``experiments.train``, in which there are no data yet.

Calls are synchronised, and both sides alternate in one process; a ratio is the median of the ratios of the rounds.
"""

import functools
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import data, training
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.progress import human
from experiments.data.dataset import Dataset, preprocess
from experiments.models.conditioning import conditions, conditions_for
from experiments.models.devices import everywhere, spread
from experiments.planning.chips import named
from experiments.planning.counting import flops
from experiments.tasks.diffusion import task as diffusion
from experiments.tasks.diffusion.build import build_rules, build_sampler, make_sampler
from experiments.tasks.diffusion.model import Model
from experiments.training.feeding import feed
from experiments.training.loop import Trainable
from scorekit import training as steps
from scorekit.typing import PyTree

_CONFIG = shared.config()
_TURNS = shared.count("turns", 20, "Repetitions; a fifth of sampling.")


def rounds(calls: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, list[float]]:
    """Seconds of each call, of which every round makes one, in alternating order: a busy machine slows all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(turns):
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            jax.block_until_ready(calls[name]())
            seconds[name].append(time.perf_counter() - start)
    return seconds


def in_turns(ours: Callable[[], Any], theirs: Callable[[], Any], turns: int) -> tuple[float, float, float]:
    """Medians over repetitions: the seconds of each of two programs, and the ratio within a repetition."""
    seconds = [*rounds({"ours": ours, "theirs": theirs}, turns).values()]
    ratios = [a / b for a, b in zip(*seconds, strict=True)]
    return statistics.median(seconds[0]), statistics.median(seconds[1]), statistics.median(ratios)


def peak(dtype: str) -> tuple[float, str]:
    """Operations per second of one device, and where the figure is from."""
    if chip := named(jax.devices()[0].device_kind):
        return chip.peak_of(dtype), "published"
    side = 2048
    a, multiply = jnp.ones((side, side), dtype), jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    return 2 * side**3 / min(rounds({"": lambda: multiply(a)}, 10)[""]), f"measured, {side} x {side}"


def compiled_side(step: Any, state: list[Any], *rest: Any) -> tuple[Callable[[], Any], float, float]:
    """Compiles and first runs ``step(state, *rest) -> (state, value)``: a call, seconds to compile, MB on a device."""
    start = time.perf_counter()
    found = (compiled := step.lower(state[0], *rest).compile()).memory_analysis()
    compilation = time.perf_counter() - start
    memory = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes

    def call():
        state[0], value = compiled(state[0], *rest)
        return value

    jax.block_until_ready(call())
    return call, compilation, (memory + found.temp_size_in_bytes) / 2**20


def minimal_step(model: Model, dataset: Dataset, optimizer: optax.GradientTransformation):
    """``((params, moments, average, count), batch) -> (the same, loss)`` with the network of a model."""

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, batch):
        params, moments, average, count = state
        batch = preprocess(dataset, batch)
        x, given = batch["x"], conditions(model, batch)
        for_t, for_eps = jax.random.split(jax.random.fold_in(jax.random.key(0), count))
        t = jax.random.uniform(for_t, x.shape[:1])
        eps = jax.random.normal(for_eps, x.shape, x.dtype)
        rows = (-1, *[1] * (x.ndim - 1))
        x_t = model.schedule.alpha(t).reshape(rows) * x + model.schedule.sigma(t).reshape(rows) * eps
        loss = lambda params: jnp.mean((model.network(params, given)(x_t, t) - eps) ** 2)
        value, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        params = optax.apply_updates(params, updates)
        average = jax.tree.map(lambda e, p: 0.999 * e + 0.001 * p, average, params)
        return (params, moments, average, count + 1), value

    return step


def train(config: Config, trained: Trainable, model: Model, dataset: Dataset, params: PyTree, turns: int):
    """Both steps in turns, seconds to compile and memory of both, operations of the minimal, fraction without data."""
    options, copy = config.training, functools.partial(jax.tree.map, jnp.copy)
    optimizer, mesh = trained.optimizer, steps.make_mesh(training.sharing(options, jax.device_count()))
    switches = {"parallel": options.parallel, "accumulate": options.accumulate, "gathers": trained.gathers}
    step = steps.make_train_step(trained.prepare, trained.loss, optimizer, mesh=mesh, **switches)
    state = steps.init_state(jax.random.key(0), copy(params), optimizer, options.ema_decays)
    states = [steps.place_state(state, mesh)]
    with feed(dataset, mesh, seed=config.seed, batch_size=options.batch_size, steps=options.steps) as batches:
        batch = next(batches)
        minimal = minimal_step(model, dataset, optimizer)
        plain = everywhere((copy(params), optimizer.init(params), copy(params), jnp.int32(0)))
        operations = flops(jax.make_jaxpr(minimal)(plain, batch).jaxpr)
        sides = compiled_side(step, states, batch), compiled_side(minimal, [plain], batch)
        (ours, *compiled), (theirs, *minimally) = sides
        timing = in_turns(ours, theirs, turns)
        start, before, metrics = time.perf_counter(), batches.waited, None
        for _, fed in zip(range(turns), batches, strict=False):
            states[0], metrics = step(states[0], fed)
        jax.block_until_ready(metrics)
        waiting = (batches.waited - before) / (time.perf_counter() - start)
        return timing, zip(compiled, minimally, strict=True), operations, waiting


def sample(config: Config, model: Model, dataset: Dataset, params: PyTree, turns: int) -> tuple[float, float, float]:
    """Drawing a batch and the minimal sampler in turns."""
    size, scale = config.sampling.batch_size, config.sampling.guidance_scale
    labels = np.arange(size, dtype=np.int32) % dataset.num_classes
    generate = make_sampler(config, model, dataset)
    solver, ts = build_sampler(config, model.schedule)
    calls = (len(ts) - 1) * solver.evals_per_step
    given = conditions_for(model, dataset, labels, None, 0.0)
    if guided := not build_rules(config).is_plain(scale):
        given = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), given)

    @jax.jit
    def minimal(params, key, given):
        x, given = spread((jax.random.normal(key, (size, *model.shape)), given))

        def step(x, t):
            output = model.network(params, given)(jnp.concatenate([x, x]) if guided else x, t)
            return x - output[:size] / calls, None

        return jax.lax.scan(step, x, jnp.linspace(0.99, 0.01, calls))[0]

    placed = everywhere((params, given))
    both = lambda: generate(params, 0, labels, scale), lambda: minimal(placed[0], jax.random.key(0), placed[1])
    in_turns(*both, 1)  # compiles
    return in_turns(*both, max(turns // 5, 1))


def main(config: Config) -> None:
    turns = _TURNS.value
    jax.config.update("jax_enable_compilation_cache", False)
    training.check(config)
    training.check_devices(config)
    dataset = data.load(config)
    task = diffusion.build(config, dataset)
    model = task.model
    params = model.init(jax.random.key(config.seed))
    devices, dtype = jax.devices(), config.network.dtype or "float32"
    size, drawn, (highest, source) = config.training.batch_size, config.sampling.batch_size, peak(dtype)
    parameters = human(sum(x.size for x in jax.tree.leaves(params)))
    kind = f"{len(devices)} × {devices[0].device_kind}, jax {jax.__version__}, {dtype}"
    print(f"{kind}; {dataset.name}, {parameters} parameters\n\n{'':44}{'scorekit':>12}{'minimal':>12}{'ratio':>8}")

    def row(name: str, ours: float, theirs: float, ratio: float | None = None) -> None:
        print(f"{name:44}{ours:12.4g}{theirs:12.4g}{ours / theirs if ratio is None else ratio:8.3f}", flush=True)

    found = train(config, task.trained, model, dataset, params, turns)
    (ours, theirs, ratio), (compilation, memory), operations, waiting = found
    used = lambda seconds: 100 * operations / (seconds * highest * len(devices))
    row(f"training, examples/s at batch {size}", size / ours, size / theirs, 1 / ratio)
    row("training step, ms", 1e3 * ours, 1e3 * theirs, ratio)
    row("training step, compilation, s", *compilation)
    row("memory of a device, compiled, MB", *memory)
    row("utilisation, %", used(ours), used(theirs), 1 / ratio)
    ours, theirs, ratio = sample(config, model, dataset, params, turns)
    row(f"sampling, examples/s at batch {drawn}", drawn / ours, drawn / theirs, 1 / ratio)
    print(f"\nwaiting for data: {waiting:.1%} of the time")
    print(f"operations: {operations / 1e9:.4g} G a step, peak {highest / 1e12:.4g} T/s a device ({source})")


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, diffusion.check_fields)
