"""Fine-tunes a trained run of a diffusion towards a reward of :mod:`.rewards` by a loss of :mod:`scorekit.alignment`.

    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=brightness --workdir=runs/bright
    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=class:3 --unconditional
    python -m experiments.sample --workdir=runs/bright

A copy of the averaged parameters of the conditional model (guidance scale 1) is fine-tuned, of the unconditional one
with ``--unconditional``; ``--workdir`` becomes a run for experiments.sample, with ``report.html``. The temperature is
in standard deviations of the start's rewards in a class: ``adjoint``, ``gradient`` and ``policy`` tend to
``p(x) exp(r(x) / temperature)``; ``weighted`` and ``nft`` move away from the start in every round.
"""

import math
from pathlib import Path
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, changed, save_resolved
from experiments.cli.endings import ProgramError
from experiments.cli.progress import Progress
from experiments.models import run_files
from experiments.models.conditioning import conditions_for
from experiments.projects.alignment import rewards
from experiments.reporting.curves import Line, Panel, curves
from experiments.reporting.report import Figure, write_report
from experiments.reporting.samples import picture_of
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import runs, task
from experiments.tasks.diffusion.solvers import GRIDS
from scorekit import alignment, metrics, process, samplers, solvers, training

METHODS = {"adjoint": (1, 3e-4), "gradient": (1, 3e-4), "policy": (1, 3e-4), "nft": (2, 4e-5), "weighted": (4, 4e-5)}
"""Methods: their steps of Adam with the same samples, and their learning rates."""
GRADIENT = "adjoint", "gradient"  # of the reward
GROUPS, GROUP = 8, 16  # classes in a round, and samples of each
_START = shared.define(flags.DEFINE_string, "start", None, "Folder of the run.")
_REWARD = flags.DEFINE_string("reward", "brightness", "brightness, class:K, compressibility or module:function.")
_METHOD = flags.DEFINE_enum("method", "adjoint", list(METHODS), "The loss.")
_NULL = flags.DEFINE_bool("unconditional", False, "Fine-tune the model without a class, the null token.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.3, "Temperature, in standard deviations.", 0.01, 100.0)
_ROUNDS, _STEPS = shared.count("rounds", 24, "Rounds of 128 samples."), shared.count("steps", 20, "Of a sampler.", 2)
_RATE = flags.DEFINE_float("learning_rate", None, "Of Adam, at first; 4e-5 (nft, weighted) or 3e-4.", 1e-8, 1.0)
_NUM, _SEED = shared.count("num", 640, "Samples that the report measures.", 32), shared.seed()
_WORKDIR = shared.out("New folder of the run.", "runs/finetuned", "workdir")


def loss(key, params, start, old, given, path, r, model, x, ts, reward, scale):
    """The loss of each sample; ``scale`` is the standard deviation of the rewards, ``x`` the noise of new paths."""
    new, reference = model.denoiser(params, given), model.denoiser(start, given)
    method, kl, at = _METHOD.value, _TEMPERATURE.value, (model.schedule, solvers.Ancestral())
    if method == "adjoint":
        return alignment.adjoint_matching_loss(key, new, reference, *at, x, ts, reward, temperature=kl * scale)
    if method == "gradient":
        how = {"key": key, "last": len(ts) - 1, "reference": reference, "kl": kl * scale}
        return alignment.reward_gradient_loss(new, *at, x, ts, reward, **how)
    a, target = alignment.advantages(r, num_groups=GROUPS), {"target": model.target}
    if method == "policy":
        return alignment.policy_gradient_loss(new, *at, path, ts, a, reference=reference, kl=kl)
    new, old, reference = (model.network(each, given) for each in (params, old, start))
    if method == "nft":
        p = alignment.optimality(r, num_groups=GROUPS)
        return alignment.nft_loss(key, new, old, model.schedule, path.x, p, **target)[0]
    weights = GROUP * jax.nn.softmax(a.reshape(GROUPS, -1) / kl).reshape(-1)
    near = {"reference": reference, "kl": kl, **target}
    return alignment.advantage_weighted_loss(key, new, model.schedule, path.x, weights, **near)[0]


def with_products(call, args, kwargs, context):
    """A call of a layer; on a CPU a convolution is a product of matrices, whose gradient in a loop XLA takes faster."""
    layer = context.module

    def convolve(x, kernel, strides, padding, **_):
        sides, same = kernel.shape[:-2], isinstance(padding, str)
        pads = jax.lax.padtype_to_pads(x.shape[1:-1], sides, strides, padding) if same else padding
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        ends = np.subtract(x.shape[1:-1], sides) + 1
        parts = [x[:, *map(slice, at, np.add(at, ends), strides)] for at in np.ndindex(sides)]
        return jnp.concatenate(parts, -1) @ kernel.reshape(-1, kernel.shape[-1])

    on_cpu = isinstance(layer, nn.Conv) and jax.default_backend() == "cpu"
    if on_cpu and layer.feature_group_count == layer.input_dilation == layer.kernel_dilation == 1:
        at_once = lambda x, kernel, *how, **_: jax.checkpoint(lambda x, kernel: convolve(x, kernel, *how))(x, kernel)
        object.__setattr__(layer, "conv_general_dilated", at_once)
    return call(*args, **kwargs)


def measured(run, real, labels, x, reward, aside, other) -> list:
    """The cells of samples ``x`` in the table, against other samples, with the means of other rewards."""
    flat, accuracy, part, r = lambda x: np.asarray(x).reshape(len(x), -1), None, run.dataset.train, reward.values(x)
    wanted = np.full_like(labels, reward.label) if _NULL.value else labels
    if run.dataset.num_classes > 1 and wanted[0] >= 0:
        judge = metrics.fit_reference_classifier(flat(run.dataset.inputs(part)), part["label"])
        accuracy = metrics.class_accuracy(judge, flat(x), wanted)
    apart = metrics.energy_distance(flat(x), flat(other)), metrics.precision_recall(flat(real), flat(x)).recall
    cells = [*map(float, (r.mean(), alignment.best_of(r, r, 16).mean(), *apart)), accuracy]
    return cells + [float(each.values(x).mean()) for each in aside]


def main(config: Config) -> Path:
    rule = {"guidance": ("unconditional" if _NULL.value else "conditional",), "sampling.guidance_scale": 1.0}
    config = changed(config, rule)
    with shared.named("start"):
        run = runs.open_score(config, shared.path(_START))
    dataset, model, schedule, method = run.dataset, run.model, run.model.schedule, _METHOD.value
    start = jax.tree.map(jnp.asarray, jax.device_get(run.params))  # placed as results are: nothing is compiled twice
    if model.is_flow_map or (_NULL.value and model.extracts):
        raise ConfigError(f"--start={_START.value}: must be a diffusion, for --unconditional without other conditions")
    ts = GRIDS.build(config, "sampling.grid", schedule=schedule, n=_STEPS.value, stochastic=True)
    shown = np.arange(1 if _NULL.value else min(dataset.num_classes, 10))  # classes of the report
    labels, rng = np.sort(np.repeat(np.resize(shown, _NUM.value // 16), 16)), np.random.default_rng(_SEED.value)
    key, draw = jax.random.key(_SEED.value), lambda params, seed: run.generate(params, seed, labels, 1.0)
    reward, before = rewards.named(_REWARD.value, dataset, _SEED.value), draw(start, _SEED.value)
    r = reward.check(before, method, method in GRADIENT)
    scale = float(np.sqrt(np.mean([r[labels == k].var() for k in set(labels)]))) or 1.0
    bests = {n: float(alignment.best_of(r, r, n).mean()) for n in (1, 2, 4, 8, 16)}
    print(f"start: reward {bests[1]:.4g}, best of 16 {bests[16]:.4g} {reward.about}", flush=True)
    folder = shared.results_folder(_WORKDIR)
    like = jax.ShapeDtypeStruct((GROUPS * GROUP, *model.shape), jnp.float32)
    prior = lambda key: process.sample_prior(key, schedule, like, ts[0])

    @jax.jit
    def paths(params, key, given):
        new, reference = (model.denoiser(each, given) for each in (params, start))
        at, x = (schedule, solvers.Ancestral()), prior(key)
        path = samplers.sample_with_log_probs(jax.random.fold_in(key, 1), new, *at, x, ts)
        return path, alignment.path_kl(new, reference, *at, path.trajectory, ts).sum(0).mean()

    repeats, usual = METHODS[method]
    rate = optax.cosine_decay_schedule(_RATE.value or usual, _ROUNDS.value * repeats, 0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    @jax.jit
    def update(params, state, old, key, given, path, r):
        how = start, old, given, path, r, model, prior(jax.random.fold_in(key, 1)), ts, reward.function, scale
        with nn.intercept_methods(with_products):
            value, slope = jax.value_and_grad(lambda params: jnp.mean(loss(key, params, *how)))(params)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state, value

    params, state, points, path, now = start, optimizer.init(start), [], cast(Any, None), cast(Any, None)
    with Progress(_ROUNDS.value, batch_size=GROUPS * GROUP, label=method, unit="samples") as bar:
        for i in range(_ROUNDS.value):
            old, keys = params, jax.random.split(jax.random.fold_in(key, i))
            groups = rng.integers(dataset.num_classes, size=GROUPS) if not _NULL.value else [model.num_classes] * GROUPS
            given = conditions_for(model, dataset, np.repeat(groups, GROUP))
            looked = i % max(_ROUNDS.value // 10, 1) == 0 or i == _ROUNDS.value - 1
            if looked or method not in GRADIENT:
                path, kl = paths(params, keys[0], given)
                now = reward.values(path.x)
            if looked:
                points.append((float(kl), float(now.mean())))
                print(f"round {i}: reward {now.mean():.4g}, KL from the start {kl:.3g} nats", flush=True)
            for each in jax.random.split(keys[1], repeats):
                params, state, value = update(params, state, old, each, given, path, now)
            if not np.isfinite(value):
                raise ProgramError(f"the loss is {value} in round {i}; use a smaller --learning_rate")
            bar.update(i + 1, value)

    after, real = draw(params, _SEED.value), np.asarray(dataset.inputs(dataset.train))
    real = real[rng.permutation(len(real))[: len(labels)]]
    aside = [rewards.named(name, dataset, 0) for name in ("brightness", "compressibility") if name != reward.name]
    of = lambda x, other: measured(run, real, labels, x, reward, aside, other)
    table = [["start", 0.0, *of(before, draw(start, _SEED.value + 1))], [method, points[-1][0], *of(after, before)]]
    header = ["model", "KL, nats", "reward", "best of 16", "energy distance", "recall", "class accuracy"]
    caption = "Energy distance: from the start. Recall: of training examples. Class accuracy: of another classifier."
    results = Table([*header, *(each.name for each in aside)], table, caption)
    print(f"\n{tables_as_text([results])}", flush=True)
    few = np.concatenate([np.flatnonzero(labels == k)[: 100 // len(shown)] for k in shown])
    drawn = lambda name, x: picture_of(folder / f"{name}.png", dataset, x[few], labels[few], f"{name}, same noise")
    best = Line([math.log(n) - (n - 1) / n for n in bests], list(bests.values()), texts=[*map(str, bests)])
    lines, title = {method: Line(*np.transpose(points)), "best of N of the start": best}, "KL from the start (nats)"
    curve = curves(folder / "reward_by_kl.png", [Panel(lines, title, "mean reward")])
    sections = [results, *map(Figure, (drawn("before", before), drawn("after", after), curve))]
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        meaning = run_files.record(config, dataset.encoder, dataset.class_names)
        checkpoints.save(run.step + 1, training.init_state(key, params, optimizer, ()), extra=meaning)
    save_resolved(changed(config, {"sampling.ema": "none"}), folder / "config.json")
    summary = {"start": _START.value, "reward": f"{reward.name} {reward.about}", "temperature": _TEMPERATURE.value}
    return write_report(folder / "report.html", f"{dataset.name}, {method}", summary, sections)


if __name__ == "__main__":
    command_line.run(main, shared.named("start")(lambda: task.saved(_START.value)), task.check_fields)
