"""Fine-tunes a trained run of a diffusion towards a reward, by any loss of :mod:`scorekit.alignment`.

    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=brightness --workdir=runs/bright
    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=class:3 --labels=none --method=nft
    python -m experiments.sample --workdir=runs/bright

:mod:`.rewards` lists the rewards. The conditional model (guidance scale 1) is fine-tuned, a copy of its averaged
parameters; with ``--labels=none`` the unconditional one. ``--workdir`` becomes a run that experiments.sample opens,
with ``report.html``. Rewards are compared within groups of one class. ``--temperature`` is in standard deviations of
the start's rewards within a class: ``adjoint``, ``gradient`` and ``policy`` tend to ``p(x) exp(r(x) / temperature)``,
``weighted`` to a law near the start, and ``nft``, which has no temperature, away from it for as long as it runs.
"""

import math
from pathlib import Path

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
from experiments.reporting.report import Figure, Heading, write_report
from experiments.reporting.samples import picture_of
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import runs, task
from experiments.tasks.diffusion.solvers import GRIDS
from scorekit import alignment, metrics, process, samplers, solvers, training

METHODS = {"adjoint": 1, "gradient": 1, "policy": 1, "nft": 4, "weighted": 4}
"""Methods, and their steps of the optimiser from the same samples."""
_START, _STEP = shared.define(flags.DEFINE_string, "start", None, "Folder of the run."), shared.step()
_SEED = shared.seed()
_REWARD = flags.DEFINE_string("reward", "brightness", "brightness, class:K, compressibility or module:function.")
_CLASSIFIER = flags.DEFINE_string("classifier", None, "class:K: run of a classifier; a small one is trained without.")
_METHOD = flags.DEFINE_enum("method", "adjoint", list(METHODS), "The loss.")
_LABELS = flags.DEFINE_list("labels", None, "Classes by name or number, all by default; none for the unconditional.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.4, "Temperature, in standard deviations.", 0.01, 100.0)
_ROUNDS = shared.count("rounds", 150, "Rounds of new samples.")
_GROUP = shared.count("group", 16, "Samples of one class in a round.", 2)
_GROUPS = shared.count("groups", 8, "Classes, drawn at random, in a round.")
_STEPS = shared.count("steps", 20, "Steps of the sampler in training.", 2)
_RATE = flags.DEFINE_float("learning_rate", 3e-4, "Learning rate of Adam.", 1e-8, 1.0)
_NUM = shared.count("num", 640, "Samples that the report measures.", 32)
_WORKDIR = shared.out("New folder of the run.", "runs/finetuned", "workdir")


def make_loss(model, method: str, reward, temperature: float, ts):
    """``(key, params, start, old, given, path, r) -> loss``, for a temperature in units of the reward."""
    solver, schedule, target = solvers.Ancestral(), model.schedule, {"target": model.target}

    def loss(key, params, start, old, given, path, r):
        new, reference = model.denoiser(params, given), model.denoiser(start, given)
        networks = [model.network(each, given) for each in (params, old, start)]
        x, relative, groups = path.trajectory[0], _TEMPERATURE.value, {"num_groups": _GROUPS.value}
        match method:
            case "adjoint":
                each = (key, new, reference, schedule, solver, x, ts, reward)
                return alignment.adjoint_matching_loss(*each, temperature=temperature)
            case "gradient":
                how = {"key": key, "last": len(ts) - 1, "reference": reference, "kl": temperature}
                return alignment.reward_gradient_loss(new, schedule, solver, x, ts, reward, **how)
            case "policy":
                a, kl = alignment.advantages(r, **groups), {"reference": reference, "kl": relative}
                return alignment.policy_gradient_loss(new, schedule, solver, path, ts, a, **kl)
            case "nft":
                p = alignment.optimality(r, **groups)
                return alignment.nft_loss(key, *networks[:2], schedule, path.x, p, **target)[0]
        a = alignment.advantages(r, **groups).reshape(_GROUPS.value, -1) / relative
        weights = (a.shape[1] * jax.nn.softmax(a)).reshape(-1)
        close = {"reference": networks[2], "kl": relative, **target}
        return alignment.advantage_weighted_loss(key, networks[0], schedule, path.x, weights, **close)[0]

    return loss


def measured(reward, dataset, real, labels, x, r, start) -> list:
    """The row of a model in the table, of its samples ``x`` with rewards ``r``."""
    flat = lambda x: np.asarray(x).reshape(len(x), -1)
    recall, spread = metrics.precision_recall(flat(real), flat(x)).recall, metrics.vendi_score(flat(x))
    distance, accuracy = metrics.energy_distance(flat(x), flat(start)), None
    if dataset.num_classes > 1 and labels[0] < dataset.num_classes:
        judge = metrics.fit_reference_classifier(flat(dataset.inputs(dataset.train)), dataset.train["label"])
        accuracy = metrics.class_accuracy(judge, flat(x), labels)
    best = reward.values(alignment.best_of(x, r, 16)).mean()
    return [float(v) for v in (r.mean(), r.std(), best, distance, recall, spread)] + [accuracy]


def main(config: Config) -> Path:
    with shared.named("start"):
        run = runs.open_score(config, shared.path(_START), _STEP.value)
    if run.model.is_flow_map:
        raise ConfigError(f"--start={_START.value}: must be a diffusion model, this run is a flow map")
    dataset, model, start, schedule = run.dataset, run.model, run.params, run.model.schedule
    null, method = _LABELS.value == ["none"], _METHOD.value
    if null and model.extracts:
        raise ConfigError("--labels=none: must be left out, this model has other conditions than the class")
    of = dataset.num_classes, dataset.class_names
    chosen = [of[0]] if null else range(of[0]) if _LABELS.value is None else shared.classes("labels", _LABELS.value, *of)
    ts = GRIDS.build(config, "sampling.grid", schedule=schedule, n=_STEPS.value, stochastic=True)
    prior = lambda key, given, t: process.sample_prior(
        key, schedule, jax.ShapeDtypeStruct((len(given["labels"]), *model.shape), jnp.float32), t
    )

    @jax.jit
    def draw(params, key, given):  # by the sampler of the run
        solver, grid, keys = run.generate.solver, run.generate.ts, jax.random.split(key)
        key, x = keys[1] if solver.stochastic else None, prior(keys[0], given, grid[0])
        return samplers.sample(model.denoiser(params, given), schedule, solver, x, grid, key=key)

    @jax.jit
    def paths(params, key, given):
        keys, denoisers = jax.random.split(key), [model.denoiser(each, given) for each in (params, start)]
        at = schedule, solvers.Ancestral(), prior(keys[0], given, ts[0]), ts
        path = samplers.sample_with_log_probs(keys[1], denoisers[0], *at)
        return path, alignment.path_kl(*denoisers, *at[:2], path.trajectory, ts).sum(0).mean()

    labels = np.repeat(np.resize(np.asarray(chosen, np.int32), -(-_NUM.value // 16)), 16)
    given, key = conditions_for(model, dataset, np.sort(labels)), jax.random.key(_SEED.value)
    labels, before, last = np.sort(labels), draw(start, key, given), float(run.generate.ts[-1])
    reward = rewards.named(_REWARD.value, config, dataset, _CLASSIFIER.value, last, _SEED.value)
    r = reward.check(before, method, method in ("adjoint", "gradient"))
    within = float(np.sqrt(np.mean([r[labels == k].var() for k in set(labels)]))) or 1.0
    folder = shared.results_folder(_WORKDIR)
    loss, bests = make_loss(model, method, reward, within * _TEMPERATURE.value, ts), {}
    for n in (1, 2, 4, 8, 16):
        bests[n] = float(reward.values(alignment.best_of(before, r, n)).mean())
    print(f"start: reward {bests[1]:.4g}, best of 16 {bests[16]:.4g}; {reward.about}", flush=True)
    rate = optax.cosine_decay_schedule(_RATE.value, _ROUNDS.value * METHODS[method], 0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    @jax.jit
    def update(params, state, key, given, path, r):
        def body(carry, key):
            value = lambda p: jnp.mean(loss(key, p, start, params, given, path, r))
            found, slope = jax.value_and_grad(value)(carry[0])
            updates, state = optimizer.update(slope, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), found

        carry, found = jax.lax.scan(body, (params, state), jax.random.split(key, METHODS[method]))
        return *carry, found[-1]

    params, state, points, rng = start, optimizer.init(start), [], np.random.default_rng(_SEED.value)
    every, size = max(_ROUNDS.value // 10, 1), _GROUP.value * _GROUPS.value
    with Progress(_ROUNDS.value, batch_size=size, label=method, unit="samples") as bar:
        for i in range(_ROUNDS.value):
            keys = jax.random.split(jax.random.fold_in(key, i + 1))
            drawn = conditions_for(model, dataset, np.repeat(rng.choice(chosen, _GROUPS.value), _GROUP.value))
            path, kl = paths(params, keys[0], drawn)
            now = reward.values(path.x)
            if i % every == 0 or i == _ROUNDS.value - 1:
                points.append((float(kl), float(now.mean())))
                print(f"round {i}: reward {now.mean():.4g}, KL from the start {kl:.3g} nats", flush=True)
            params, state, value = update(params, state, keys[1], drawn, path, now)
            if not np.isfinite(value):
                raise ProgramError(f"the loss is {value} after round {i}; use a smaller --learning_rate")
            bar.update(i + 1, value)

    after = draw(params, key, given)
    rows = dataset.inputs(dataset.train)
    real = np.asarray(rows)[rng.permutation(len(rows))[: len(labels)]]
    table = [["start", *measured(reward, dataset, real, labels, before, r, draw(start, jax.random.fold_in(key, 0), given))]]
    table += [[method, *measured(reward, dataset, real, labels, after, reward.values(after), before)]]
    header = ["", "reward", "std", "best of 16", "energy distance", "recall", "Vendi score", "class accuracy"]
    caption = "Energy distance to samples of the start (first row: other ones); recall of training examples."
    results = Table(header, table, caption)
    print(f"\n{tables_as_text([results])}", flush=True)
    pictures, ten = [], np.concatenate([np.flatnonzero(labels == k)[:10] for k in sorted(set(labels))])
    for name, x in {"before": before, "after": after}.items():
        shown = np.asarray(dataset.from_model(x[ten], jax.tree.map(lambda leaf: leaf[ten], given)))
        pictures.append(Figure(picture_of(folder / f"{name}.png", dataset, shown, labels[ten], name), name))
    best = Line([math.log(n) - (n - 1) / n for n in bests], list(bests.values()), texts=[f"{n}" for n in bests])
    lines = {method: Line(*zip(*points, strict=True)), "best of N of the start": best}
    curve = curves(folder / "reward_by_kl.png", [Panel(lines, "KL divergence from the start (nats)", "mean reward")])
    optimiser, decays = optax.identity(), config.training.ema_decays
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        extra = run_files.record(config, dataset.encoder, dataset.class_names)
        checkpoints.save(run.step + 1, training.init_state(key, params, optimiser, decays), extra=extra)
        checkpoints.wait()
    rule = ("unconditional" if null else "conditional",)
    save_resolved(
        changed(config, {"guidance": rule, "sampling.guidance_scale": 1.0, "sampling.ema": "none"}), folder / "config.json"
    )
    summary = {"start": _START.value, "reward": f"{reward.name} {reward.about}", "temperature": _TEMPERATURE.value}
    sections = [results, Heading("Before and after, from the same noise"), *pictures, Heading("Reward by KL"), Figure(curve)]
    return write_report(folder / "report.html", f"{dataset.name}, {method}", summary, sections)


def opened() -> Config:
    """The config of the start."""
    with shared.named("start"):
        return task.saved(_START.value)


if __name__ == "__main__":
    command_line.run(main, opened, task.check_fields)
