"""Time of every rule over classifier-free guidance, and whether new hyper-parameters compile again."""

import functools
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from experiments.benchmarks.guidance.problems import HIGH, LOW, RULES
from experiments.benchmarks.measuring import rounds
from scorekit import guidance, predictions, samplers, schedules, solvers, trees
from scorekit.networks import UNet
from scorekit.solvers import grids
from scorekit.typing import Denoiser


def nested(c, u, s, g):
    """A composition of most rules."""
    guided = guidance.rescale(guidance.apg(c, u, s, g, momentum=-0.5), c, s, 0.5)
    return guidance.dynamic_threshold(guidance.interval(guided, c, s, LOW, HIGH), s)


def show(module: UNet, batch: int, steps: int, turns: int) -> None:
    """Prints the time of sampling with an untrained digits U-Net over CFG in one call; medians of alternating runs."""
    schedule = schedules.cosine()
    labels = np.arange(batch, dtype=np.int32) % 10
    x = jax.random.normal(jax.random.key(0), (batch, 8, 8, 1))
    params = jax.jit(module.init)(jax.random.key(1), x[:1], jnp.zeros(1), labels[:1])

    def apply(params, x, t, labels):
        return predictions.V().to_prediction(module.apply(params, x, t, labels), x, t, schedule)

    conditional, gamma = Partial(apply, params), jnp.float32(3.0)
    cond, uncond = guidance.branches(conditional, labels, 10)
    one, other = (guidance.branches(conditional, jnp.full(batch, c, jnp.int32))[0] for c in (labels, 10))
    rules = {
        "CFG": RULES["CFG"](cond, uncond, schedule, gamma),
        "no guidance": cond,
        "CFG, two calls": guidance.classifier_free(one, other, gamma),  # which share no computation
        **{name: rule(cond, uncond, schedule, gamma) for name, rule in RULES.items() if name != "CFG"},
        "nested": nested(cond, uncond, schedule, gamma),
    }
    ts, solver = grids.uniform(steps), solvers.Euler()
    draw = jax.jit(samplers.sample)
    for denoiser in rules.values():
        jax.block_until_ready(draw(None, denoiser, schedule, solver, x, ts))
    calls = {name: functools.partial(draw, None, rule, schedule, solver, x, ts) for name, rule in rules.items()}
    seconds = rounds(calls, turns)
    ratios = {name: [a / b for a, b in zip(each, seconds["CFG"], strict=True)] for name, each in seconds.items()}
    noise = np.exp(-0.5 * np.asarray(schedule.log_snr(ts[:-1])))
    guided_steps = int(np.sum((noise > LOW) & (noise <= HIGH)))
    print(f"\ncost: digits U-Net, batch {batch}, {steps} steps, over CFG in one call; rows: evaluations per sample")
    print(f"{'rule':18}{'rows':>6}{'of CFG':>8}{'time':>8}{'quartiles':>14}")
    for name, values in ratios.items():
        rows = steps + (0 if name == "no guidance" else guided_steps if name in ("interval", "nested") else steps)
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        print(f"{name:18}{rows:6}{rows / (2 * steps):8.2f}{middle:8.2f}{f'{low:.2f}-{high:.2f}':>14}")


def recompilation() -> None:
    """Prints how often the network is traced, at first and when every hyper-parameter changes."""
    schedule, x, ts, traces = schedules.cosine(), jnp.ones((4, 8, 8, 1)), grids.uniform(4), []

    def conditional(x, t, label):
        traces.append(1)
        return predictions.V().to_prediction(jnp.sin(x + trees.expand(label, x)), x, t, schedule)

    cond, uncond = guidance.branches(conditional, jnp.ones(4), 0.0)
    cases: dict[str, Callable[[float], Denoiser]] = {
        name: functools.partial(lambda rule, f: rule(cond, uncond, schedule, 2.0 * f), rule)
        for name, rule in RULES.items()
    }
    guided = guidance.classifier_free(cond, uncond, 3.0)
    static = lambda f: guidance.static_threshold(guided, schedule, 2.0 * f)
    apg = lambda f: {"parallel": 0.2 * f, "momentum": -0.5 / f, "norm_threshold": 2.0 * f}
    weights = lambda f: guidance.weight_schedule(f, 3.0 * f, "power", power=f)
    cases |= {
        "interval, bounds": lambda f: guidance.interval(guided, cond, schedule, 0.1 * f, 2.0 * f),
        "thresholds": lambda f: guidance.dynamic_threshold(static(f), schedule, 0.9 / f, f),
        "APG, all values": lambda f: guidance.apg(cond, uncond, schedule, 2.0 * f, **apg(f)),
        "γ(t), its values": lambda f: guidance.classifier_free(cond, uncond, weights(f)),
    }
    print("\nrecompilation: traces of the network at the first call, and new ones when every hyper-parameter changes")
    for name, build in cases.items():
        draw = jax.jit(lambda *args: samplers.sample(*args))  # a new function: traces are shared by structure
        counts = []
        for factor in (1.0, 1.3):
            traces.clear()
            jax.block_until_ready(draw(None, build(factor), schedule, solvers.Euler(), x, ts))
            counts.append(len(traces))
        print(f"{name:18}{counts[0]:4}{counts[1]:4}")
