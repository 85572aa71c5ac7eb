"""Training and sampling of any config on the devices at hand, over minimal implementations.

All calls are synchronised. The minimal training step is ``jax.jit`` of ``value_and_grad`` and optax at the same
network, batch and precision, with one average of the parameters; it drops no conditions, checks nothing and accumulates
nothing. The minimal sampler is a scan of as many network calls as the solver makes, on twice the batch where guidance
needs a second branch. Compilation is measured without the cache of compiled programs.

Utilisation counts the matrix products and convolutions of the minimal step (with those that ``remat`` computes twice),
over the peak of the devices: the published one of dense products, of float32 with the default precision of JAX (TF32 on
GPUs, bfloat16 on TPUs), or the speed of a large product where the device is not in the table. Waiting is the fraction
of the time of some training steps, fed as in ``experiments.train``, in which there are no data yet.
"""

import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments import training
from experiments.benchmarks.measuring import Timing, in_turns
from experiments.cli.config import Config
from experiments.cli.progress import human
from experiments.data.dataset import Dataset, preprocess
from experiments.models import guidance
from experiments.models.conditioning import conditions, conditions_for
from experiments.models.devices import everywhere, spread
from experiments.models.model import Model, build_model
from experiments.models.sampling import build_sampler, make_sampler
from experiments.planning.chips import named
from experiments.planning.counting import flops
from experiments.tasks import diffusion
from experiments.training.feeding import feed
from experiments.training.loop import Trainable
from scorekit import training as steps
from scorekit.typing import PyTree


def peak(dtype: str) -> tuple[float, str]:
    """Operations per second of one device, and where the figure is from."""
    if chip := named(jax.devices()[0].device_kind):
        return chip.peak_of(dtype), "published"
    side = 2048
    a = jnp.ones((side, side), dtype)
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    timing = in_turns(lambda: multiply(a), lambda: multiply(a), 5)
    return 2 * side**3 / min(timing.ours, timing.theirs), f"measured, {side} x {side}"


class Side(NamedTuple):
    """A compiled training step, seconds of its first call and of its compilation, bytes on a device."""

    call: Callable[[], Any]
    first: float
    compilation: float
    memory: float


def _side(step: Any, state: list[Any], *rest: Any) -> Side:
    """Compiles and first runs ``step(state, *rest) -> (state, value)``."""
    start = time.perf_counter()
    compiled = step.lower(state[0], *rest).compile()
    compilation = time.perf_counter() - start
    found = compiled.memory_analysis()
    memory = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    memory += found.temp_size_in_bytes

    def call():
        state[0], value = step(state[0], *rest)
        return value

    start = time.perf_counter()
    jax.block_until_ready(call())
    return Side(call, time.perf_counter() - start, compilation, memory)


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


def train(
    config: Config, dataset: Dataset, one: Trainable, model: Model, params: PyTree, turns: int
) -> tuple[Side, Side, Timing, float, float]:
    """The training step, the minimal step, both in turns, operations of the minimal, fraction of time without data."""
    options, copy = config.training, functools.partial(jax.tree.map, jnp.copy)
    optimizer, mesh = one.optimizer, steps.make_mesh(options.fsdp)
    switches = {"parallel": options.parallel, "accumulate": options.accumulate, "gathers": one.gathers}
    step = steps.make_train_step(one.prepare, one.loss, optimizer, mesh=mesh, **switches)
    state = steps.init_state(jax.random.key(0), copy(params), optimizer, options.ema_decays)
    states = [steps.place_state(state, mesh)]
    size = {"steps": options.steps, "batch_size": options.batch_size}
    with feed(dataset, mesh, seed=config.seed, **size) as batches:
        batch = next(batches)
        minimal = minimal_step(model, dataset, optimizer)
        plain = everywhere((copy(params), optimizer.init(params), copy(params), jnp.int32(0)))
        operations = flops(jax.make_jaxpr(minimal)(plain, batch).jaxpr)
        ours, theirs = _side(step, states, batch), _side(minimal, [plain], batch)
        timing = in_turns(ours.call, theirs.call, turns)
        start, before = time.perf_counter(), batches.waited
        metrics: Any = None
        for _, fed in zip(range(turns), batches, strict=False):
            states[0], metrics = step(states[0], fed)
        jax.block_until_ready(metrics)
        waiting = (batches.waited - before) / (time.perf_counter() - start)
    return ours, theirs, timing, operations, waiting


def sample(config: Config, model: Model, dataset: Dataset, params: PyTree, turns: int) -> tuple[float, float, Timing]:
    """First calls, compilation included, of drawing a batch and of the minimal sampler, and both in turns."""
    size, scale = config.sampling.batch_size, config.sampling.guidance_scale
    labels = np.arange(size, dtype=np.int32) % dataset.num_classes
    generate = make_sampler(config, model, dataset)
    solver, ts = build_sampler(config, model.schedule)
    calls = (len(ts) - 1) * solver.evals_per_step
    given = conditions_for(model, dataset, labels, None, 0.0)
    guided = not guidance.is_plain(config, scale)
    if guided:
        given = jax.tree.map(lambda leaf: np.concatenate([leaf, leaf]), given)

    @jax.jit
    def minimal(params, key, given):
        x, given = spread((jax.random.normal(key, (size, *model.shape)), given))

        def step(x, t):
            output = model.network(params, given)(jnp.concatenate([x, x]) if guided else x, t)
            return x - output[:size] / calls, None

        times = jnp.linspace(0.99, 0.01, calls)
        return jax.lax.scan(step, x, times)[0]

    placed = everywhere((params, given))
    ours = lambda: generate(params, 0, labels, scale)
    theirs = lambda: minimal(placed[0], jax.random.key(0), placed[1])
    first = []
    for call in (ours, theirs):
        start = time.perf_counter()
        jax.block_until_ready(call())
        first.append(time.perf_counter() - start)
    return *first, in_turns(ours, theirs, max(turns // 5, 1))


def prepared(config: Config) -> tuple[Dataset, Model, PyTree]:
    """The data, the model and its first parameters of a config."""
    diffusion.check(config)
    training.check(config)
    training.check_devices(config)
    dataset = inputs.load_data(config)
    model = build_model(config, dataset)
    return dataset, model, model.init(jax.random.key(config.seed))


def run(config: Config, turns: int) -> None:
    """Prints the table of a config."""
    jax.config.update("jax_enable_compilation_cache", False)
    dataset, model, params = prepared(config)
    devices, dtype = jax.devices(), config.network.dtype or "float32"
    number, size, drawn = len(devices), config.training.batch_size, config.sampling.batch_size
    highest, source = peak(dtype)
    parameters = human(sum(x.size for x in jax.tree.leaves(params)))
    kind = f"{number} × {devices[0].device_kind}, jax {jax.__version__}, {dtype}"
    print(f"{kind}; {dataset.name}, {parameters} parameters")
    one = diffusion.trainable(config, dataset, diffusion.build(config, dataset))
    ours, theirs, timing, operations, waiting = train(config, dataset, one, model, params, turns)
    print(f"\n{'':44}{'scorekit':>12}{'minimal':>12}{'ratio':>8}")

    def row(name: str, ours: float, theirs: float, ratio: float | None = None) -> None:
        print(f"{name:44}{ours:12.4g}{theirs:12.4g}{ours / theirs if ratio is None else ratio:8.3f}", flush=True)

    row(f"training, examples/s at batch {size}", size / timing.ours, size / timing.theirs, 1 / timing.ratio)
    row("training step, ms", 1e3 * timing.ours, 1e3 * timing.theirs, timing.ratio)
    row("training step, compilation, s", ours.compilation, theirs.compilation)
    row("first training step once compiled, s", ours.first, theirs.first)
    row("memory of a device, compiled, MB", ours.memory / 2**20, theirs.memory / 2**20)
    used = lambda seconds: 100 * operations / (seconds * highest * number)
    row("utilisation, %", used(timing.ours), used(timing.theirs), 1 / timing.ratio)
    first, first_minimal, timing = sample(config, model, dataset, params, turns)
    row(f"sampling, examples/s at batch {drawn}", drawn / timing.ours, drawn / timing.theirs, 1 / timing.ratio)
    row("first batch of samples, with compilation, s", first, first_minimal)
    print(f"\nwaiting for data: {waiting:.1%} of the time")
    print(f"operations: {operations / 1e9:.4g} G a step, peak {highest / 1e12:.4g} T/s a device ({source})")
    statistics = devices[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        print(f"memory in use at most, all programs: {statistics['peak_bytes_in_use'] / 2**20:.4g} MB")
