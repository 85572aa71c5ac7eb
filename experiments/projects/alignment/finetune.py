"""Fine-tunes a trained run of a diffusion towards a reward of :mod:`.rewards` by a loss of :mod:`scorekit.alignment`.

    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=brightness --workdir=runs/bright
    python -m experiments.projects.alignment.finetune --start=runs/digits --reward=class:3 --labels=none --method=nft
    python -m experiments.sample --workdir=runs/bright

A copy of the averaged parameters of the conditional model (guidance scale 1) is fine-tuned, of the unconditional one
with ``--labels=none``; ``--workdir`` becomes a run for experiments.sample, with ``report.html``. The temperature is in
standard deviations of the start's rewards in a class: ``adjoint``, ``gradient`` and ``policy`` tend to
``p(x) exp(r(x) / temperature)``, ``weighted`` stays near the start, ``nft`` moves away from it in every round.
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
from experiments.reporting.report import Figure, write_report
from experiments.reporting.samples import picture_of
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.diffusion import runs, task
from experiments.tasks.diffusion.solvers import GRIDS
from scorekit import alignment, metrics, process, samplers, solvers, training

METHODS = {"adjoint": 1, "gradient": 1, "policy": 1, "nft": 4, "weighted": 4}
"""Methods, and their steps of the optimiser with the same samples; the first two need the gradient of the reward."""
GROUPS, GROUP = 8, 16  # classes in a round, and samples of each
_START = shared.define(flags.DEFINE_string, "start", None, "Folder of the run.")
_REWARD = flags.DEFINE_string("reward", "brightness", "brightness, class:K, compressibility or module:function.")
_METHOD = flags.DEFINE_enum("method", "adjoint", list(METHODS), "The loss.")
_LABELS = flags.DEFINE_list("labels", None, "Classes by name or number, all by default; none for the unconditional.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.4, "Temperature, in standard deviations.", 0.01, 100.0)
_ROUNDS, _STEPS = shared.count("rounds", 60, "Rounds of 128 samples."), shared.count("steps", 20, "Of a sampler.", 2)
_RATE = flags.DEFINE_float("learning_rate", 3e-4, "Learning rate of Adam.", 1e-8, 1.0)
_NUM, _SEED = shared.count("num", 640, "Samples that the report measures.", 32), shared.seed()
_WORKDIR = shared.out("New folder of the run.", "runs/finetuned", "workdir")


def loss(key, params, start, old, given, path, r, model, x, ts, reward, scale):
    """The loss of each sample; ``scale`` is the standard deviation of the rewards, ``x`` the noise of new paths."""
    new, reference = model.denoiser(params, given), model.denoiser(start, given)
    networks = [model.network(each, given) for each in (params, old, start)]
    method, kl, at = _METHOD.value, _TEMPERATURE.value, (model.schedule, solvers.Ancestral())
    if method == "adjoint":
        how = {"temperature": kl * scale}
        return alignment.adjoint_matching_loss(key, new, reference, *at, x, ts, reward, **how)
    if method == "gradient":
        how = {"key": key, "last": len(ts) - 1, "reference": reference, "kl": kl * scale}
        return alignment.reward_gradient_loss(new, *at, x, ts, reward, **how)
    a, target = alignment.advantages(r, num_groups=GROUPS), {"target": model.target}
    if method == "policy":
        return alignment.policy_gradient_loss(new, *at, path, ts, a, reference=reference, kl=kl)
    if method == "nft":
        p = alignment.optimality(r, num_groups=GROUPS)
        return alignment.nft_loss(key, *networks[:2], model.schedule, path.x, p, **target)[0]
    weights, close = (
        GROUP * jax.nn.softmax(a.reshape(GROUPS, -1) / kl).reshape(-1),
        {"reference": networks[2], "kl": kl},
    )
    return alignment.advantage_weighted_loss(key, networks[0], model.schedule, path.x, weights, **close, **target)[0]


def measured(dataset, real, labels, x, r, other) -> list:
    """The cells of samples ``x`` with rewards ``r`` in the table, against other samples."""
    flat, accuracy = lambda x: np.asarray(x).reshape(len(x), -1), None
    if dataset.num_classes > 1 and labels[0] < dataset.num_classes:
        judge = metrics.fit_reference_classifier(flat(dataset.inputs(dataset.train)), dataset.train["label"])
        accuracy = metrics.class_accuracy(judge, flat(x), labels)
    found = metrics.energy_distance(flat(x), flat(other)), metrics.precision_recall(flat(real), flat(x)).recall
    return [*map(float, (r.mean(), alignment.best_of(r, r, 16).mean(), *found)), accuracy]


def main(config: Config) -> Path:
    with shared.named("start"):
        run = runs.open_score(config, shared.path(_START))
    dataset, model, start, schedule, null = (
        run.dataset,
        run.model,
        run.params,
        run.model.schedule,
        run.model.num_classes,
    )
    if model.is_flow_map or (_LABELS.value == ["none"] and model.extracts):
        raise ConfigError(f"--start={_START.value}: must be a diffusion, for --labels=none without further conditions")
    names = [str(k) for k in range(null)] if _LABELS.value is None else _LABELS.value
    chosen = [null] if names == ["none"] else shared.classes("labels", names, null, dataset.class_names)
    ts = GRIDS.build(config, "sampling.grid", schedule=schedule, n=_STEPS.value, stochastic=True)
    like = lambda given: jax.ShapeDtypeStruct((len(given["labels"]), *model.shape), jnp.float32)

    @jax.jit
    def draw(params, key, given):
        solver, grid, (first, key) = run.generate.solver, run.generate.ts, jax.random.split(key)
        x, key = process.sample_prior(first, schedule, like(given), grid[0]), key if solver.stochastic else None
        return samplers.sample(model.denoiser(params, given), schedule, solver, x, grid, key=key)

    @jax.jit
    def paths(params, key, given):
        new, reference = (model.denoiser(each, given) for each in (params, start))
        x = process.sample_prior(key, schedule, like(given), ts[0])
        path = samplers.sample_with_log_probs(jax.random.fold_in(key, 1), new, schedule, solvers.Ancestral(), x, ts)
        return path, alignment.path_kl(new, reference, schedule, solvers.Ancestral(), path.trajectory, ts).sum(0).mean()

    labels, key = np.sort(np.repeat(np.resize(chosen, _NUM.value // 16), 16)), jax.random.key(_SEED.value)
    given, by_gradient = conditions_for(model, dataset, labels), _METHOD.value in ("adjoint", "gradient")
    before, reward = draw(start, key, given), rewards.named(_REWARD.value, dataset, _SEED.value)
    r = reward.check(before, _METHOD.value, by_gradient)
    scale = float(np.sqrt(np.mean([r[labels == k].var() for k in chosen]))) or 1.0
    bests = {n: float(alignment.best_of(r, r, n).mean()) for n in (1, 2, 4, 8, 16)}
    print(f"start: reward {bests[1]:.4g}, best of 16 {bests[16]:.4g} {reward.about}", flush=True)
    folder, repeats = shared.results_folder(_WORKDIR), METHODS[_METHOD.value]
    rate = optax.cosine_decay_schedule(_RATE.value, _ROUNDS.value * repeats, 0.1)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))

    @jax.jit
    def update(old, state, key, given, path, r):
        def body(carry, key):
            x = process.sample_prior(jax.random.fold_in(key, 1), schedule, like(given), ts[0])
            how = start, old, given, path, r, model, x, ts, reward, scale
            value, slope = jax.value_and_grad(lambda params: jnp.mean(loss(key, params, *how)))(carry[0])
            updates, state = optimizer.update(slope, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), value

        return jax.lax.scan(body, (old, state), jax.random.split(key, repeats))

    params, state, points, rng = start, optimizer.init(start), [], np.random.default_rng(_SEED.value)
    with Progress(_ROUNDS.value, batch_size=GROUPS * GROUP, label=_METHOD.value, unit="samples") as bar:
        for i in range(_ROUNDS.value):
            keys, sampled = jax.random.split(jax.random.fold_in(key, i + 1)), (None, None)
            some = conditions_for(model, dataset, np.repeat(rng.choice(chosen, GROUPS), GROUP))
            shown = i % max(_ROUNDS.value // 10, 1) == 0 or i == _ROUNDS.value - 1
            if shown or not by_gradient:
                path, kl = paths(params, keys[0], some)
                sampled = (None, None) if by_gradient else (path, reward.values(path.x))
            if shown:
                points.append((float(kl), float(reward.values(path.x).mean())))
                print(f"round {i}: reward {points[-1][1]:.4g}, KL from the start {kl:.3g} nats", flush=True)
            (params, state), values = update(params, state, keys[1], some, *sampled)
            if not np.all(np.isfinite(values)):
                raise ProgramError(f"the loss is {values[-1]} in round {i}; use a smaller --learning_rate")
            bar.update(i + 1, values[-1])

    after, rows = draw(params, key, given), np.asarray(dataset.inputs(dataset.train))
    others, real = draw(start, jax.random.fold_in(key, 0), given), rows[rng.permutation(len(rows))[: len(labels)]]
    table = [["start", *measured(dataset, real, labels, before, r, others)]]
    table += [[_METHOD.value, *measured(dataset, real, labels, after, reward.values(after), before)]]
    header = ["", "reward", "best of 16", "energy distance", "recall", "class accuracy"]
    results = Table(header, table, "Energy distance: from samples of the start. Recall: of training examples.")
    print(f"\n{tables_as_text([results])}", flush=True)
    sections, ten = [results], np.concatenate([np.flatnonzero(labels == k)[:10] for k in chosen])
    for name, x in {"before": before, "after, from the same noise": after}.items():
        samples = np.asarray(dataset.from_model(x[ten], jax.tree.map(lambda leaf: leaf[ten], given)))
        picture = picture_of(folder / f"{name.split(',')[0]}.png", dataset, samples, labels[ten], name)
        sections.append(Figure(picture, name))
    best = Line([math.log(n) - (n - 1) / n for n in bests], list(bests.values()), texts=[*map(str, bests)])
    lines = {_METHOD.value: Line(*zip(*points, strict=True)), "best of N of the start": best}
    panel = Panel(lines, "KL divergence from the start (nats)", "mean reward")
    sections.append(Figure(curves(folder / "reward_by_kl.png", [panel])))
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        record = run_files.record(config, dataset.encoder, dataset.class_names)
        checkpoints.save(run.step + 1, training.init_state(key, params, optimizer, ()), extra=record)
    rule = ("unconditional" if chosen == [null] else "conditional",)
    fields = {"guidance": rule, "sampling.guidance_scale": 1.0, "sampling.ema": "none"}
    save_resolved(changed(config, fields), folder / "config.json")
    summary = {"start": _START.value, "reward": f"{reward.name} {reward.about}", "temperature": _TEMPERATURE.value}
    return write_report(folder / "report.html", f"{dataset.name}, {_METHOD.value}", summary, sections)


def opened() -> Config:
    """The config of the start."""
    with shared.named("start"):
        return task.saved(_START.value)


if __name__ == "__main__":
    command_line.run(main, opened, task.check_fields)
