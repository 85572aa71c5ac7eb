"""Long-range structure of a waveform model, a model of latents and a cascade, at equal training compute.

Every method has a budget of floating-point operations for training on phrases of 4.096 s at 4 kHz, as
XLA's ``cost_analysis`` counts them in the gradient of one batch; this determines the number of steps of each network.
The flat model uses the full budget; autoencoder and prior, and low-rate model and upsampler, share it as ``SHARES``
says. Encoding the training set is part of the budget of the prior. Networks are trained with
:mod:`experiments.training.train_network`. The same command continues a training that was stopped.

Then phrases of each method, with the instruments of the test phrases, are compared with the test phrases:
Fréchet distances of the autocorrelation of onsets and of the self-similarity of the chroma at lags up to 2 and 3 s
(:mod:`scorekit.audio.structure`), and of log-mel statistics (:func:`scorekit.audio.log_mel_statistics`), which
are insensitive to structure. Training phrases, white noise, and reconstructions of the test phrases by the autoencoder
are measured for comparison. Sampling time excludes the first call.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags, logging

from experiments import tasks
from experiments.cli import progress
from experiments.cli.config import Config
from experiments.cli.flags import chosen
from experiments.configs.latents import phrases_latent, phrases_of_latents
from experiments.configs.phrases import phrases_1khz, phrases_4khz
from experiments.data.sounds import Sounds
from experiments.latents.stages import CascadeStage, draw, for_full_sounds
from experiments.models import autoencoder
from experiments.models.latents import STATISTICS, load_data
from experiments.models.runs import Run, write_results
from experiments.projects.audio.sound.phrase_statistics import distances, statistics
from experiments.reporting.audio_widgets import audio_widgets
from experiments.reporting.curves import Panel, curves, lines
from experiments.reporting.report import Figure, Heading, Section, write_report
from experiments.reporting.tables import Table, tables_as_text
from experiments.training import loop
from scorekit.audio import structure
from scorekit.typing import PyTree

SHARES = {"autoencoder": 0.35, "prior": 0.65, "low rate": 0.5, "upsampler": 0.5, "flat": 1.0}
"""Shares of the training operations of a method."""
PARTS = {"flat": ("flat",), "latent": ("autoencoder", "prior"), "cascade": ("low rate", "upsampler")}


class Cost(NamedTuple):
    """Operations of one step of a training, its steps, all its operations with those spent before, and seconds."""

    per_step: float
    steps: int
    total: float
    seconds: float


def flat_config() -> Config:
    """A model of the waveform: the U-Net of the low-rate model with patches of 16 samples."""
    config = phrases_1khz.get_config()
    config.data.representation.update(name="waveform", factor=None)
    config.network.update(patch=16, multipliers=(1, 2, 2, 2), factors=(4, 2, 2))
    return config


def config_of(part: str, folder: Path, options: flags.FlagValues) -> Config:
    """The config of a network, with the fields that are the same for all."""
    modules = {"autoencoder": phrases_latent, "prior": phrases_of_latents, "upsampler": phrases_4khz}
    config = flat_config() if part == "flat" else modules.get(part, phrases_1khz).get_config()
    config.training.update(batch_size=8, ema_decays=(0.99,), sample_every=10**9, keep=1)
    config["autoencoder" if part == "autoencoder" else "network"].channels = options.channels
    if part == "autoencoder":
        config.evaluation.ema = "0.99"
    else:
        config.sampling.update(ema="0.99", guidance_scale=1.0, batch_size=25)
    if part == "prior":
        config.latents = str(folder / "autoencoder")
    if part == "upsampler":
        config.sampling.steps = 10  # the low band is given
    if options.smoke:
        config.data.update(train_split="test[:8]", test_split="test[:8]")
        config.training.batch_size = 2
        if part != "autoencoder":
            config.sampling.steps = 2
    return config


def operations(function: Callable, *arguments: Any) -> float:
    """Floating-point operations of a function for these arguments, as XLA counts them before optimisation."""
    found: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"])


def step_operations(prepare: Callable, loss: Callable, params: PyTree, batch: dict[str, np.ndarray]) -> float:
    """Floating-point operations of the gradient of one batch, including its preparation."""
    gradient = lambda params, batch: jax.grad(lambda p: loss(p, prepare(jax.random.key(0), batch))[0].mean())(params)
    return operations(gradient, params, batch)


def fit_part(
    part: str, folder: Path, flops: float, options: flags.FlagValues, spent: float = 0.0
) -> tuple[Config, Run, Cost]:
    """Trains one network with a budget of ``flops`` operations, of which ``spent`` are used before the training."""
    config = config_of(part, folder, options)
    task = tasks.of(config)
    dataset = task.load(config)
    model, workdir = task.build(config, dataset), folder / part.replace(" ", "_")
    one, batch = task.trainable(config, dataset, model), dataset.batch(config.seed, 0, config.training.batch_size)
    per_step = step_operations(one.prepare, one.loss, one.init(jax.random.key(config.seed)), batch)
    steps = max(round((flops - spent) / per_step), 2)
    config.training.update(steps=steps, warmup_steps=min(100, steps // 5), checkpoint_every=steps, log_every=20)
    start = time.monotonic()
    print(f"{part}: {steps:,} steps of {progress.human(per_step)} operations", flush=True)
    one = task.trainable(config, dataset, model)._replace(ema="0.99", draw=None)  # its optimiser knows the steps
    params = train_network(config, workdir, one, dataset)
    cost = Cost(per_step, steps, per_step * steps + spent, time.monotonic() - start)
    if config.data.crop is not None and part != "autoencoder":
        config = for_full_sounds(config)
        dataset = task.load(config)
        model = task.build(config, dataset)
    return config, Run(dataset, model.built, model.generate, params, steps), cost


def fit_method(
    method: str, folder: Path, flops: float, options: flags.FlagValues
) -> tuple[list[CascadeStage], dict[str, Cost]]:
    """Trains the networks of a method; returns its stages, and the cost of each network including the autoencoder."""
    stages, costs, spent = [], {}, 0.0
    for part in PARTS[method]:
        config, run, costs[part] = fit_part(part, folder, SHARES[part] * flops, options, spent)
        if part != "autoencoder":
            stages.append(CascadeStage(config, run))
            continue
        encode = autoencoder.make_encode(run.model, run.params)
        path = folder / "autoencoder" / STATISTICS
        if not path.exists():
            write_results(path, autoencoder.statistics(encode, run.dataset))
        phrases = load_phrases(folder, options)
        spent = operations(encode, phrases.train["x"][:1]) * (phrases.examples or 0)
    return stages, costs


def load_phrases(folder: Path, options: flags.FlagValues) -> Sounds:
    """The phrases whose latents are the data of the prior."""
    config = config_of("prior", folder, options)
    config.latents = None
    dataset = load_data(config)
    assert isinstance(dataset, Sounds)
    return dataset


class Drawn(NamedTuple):
    """Samples of a method by the name of their row, seconds to draw a phrase, and the cost of training each network."""

    sounds: dict[str, np.ndarray]
    seconds: float
    costs: dict[str, Cost]


def drawn(method: str, folder: Path, flops: float, labels: np.ndarray, options: flags.FlagValues) -> Drawn:
    """Trains a method and draws phrases."""
    stages, costs = fit_method(method, folder, flops, options)
    print(f"{method}: drawing {len(labels)} phrases …", flush=True)
    draw(stages, 1, labels[:25])
    found, seconds = draw(stages, 0, labels)
    sounds = {method: found[-1]}
    if method == "latent":
        latents = stages[0].run.dataset
        parts = [latents.test["x"][i : i + 25] for i in range(0, len(latents.test["x"]), 25)]
        back = [np.asarray(latents.from_model(latents.to_model(part))) for part in parts]
        sounds["test phrases, autoencoded"] = np.concatenate(back)
    return Drawn(sounds, sum(seconds) / len(labels), costs)


def figures(path: Path, found: dict[str, dict[str, np.ndarray]]) -> list[Section]:
    """Plots of the mean statistics of every row by lag."""
    kinds = {
        "rhythm": (structure.ONSET_LAGS, "autocorrelation of onsets", "Beats show as maxima."),
        "harmony": (structure.CHROMA_LAGS, "self-similarity of the chroma", "Recurring chords show as maxima."),
    }
    sections: list[Section] = []
    for name, (lags, ylabel, caption) in kinds.items():
        file, title = path.with_name(f"{path.stem}_{name}.png"), f"{name.capitalize()}: means over phrases"
        means = lines(lags, {row: values[name].mean(0) for row, values in found.items()})
        sections.append(Figure(curves(file, [Panel(means, "lag (seconds)", ylabel, title)]), caption))
    return sections


def run(options: flags.FlagValues, folder: Path) -> Path:
    """Trains and measures the methods, prints the tables and writes a report."""
    logging.set_verbosity(logging.WARNING)
    flops = options.flops
    methods = chosen("methods", options.methods, PARTS)
    phrases = load_phrases(folder, options)
    rate, clips = phrases.sample_rate, options.clips
    labels = np.resize(phrases.test["label"], clips)
    training_phrases = phrases.real({"x": phrases.train["x"][:clips]})
    real = {"test phrases": phrases.real(phrases.test), "training phrases": training_phrases}
    rms = float(np.sqrt(np.mean(real["test phrases"] ** 2)))
    real["white noise"] = rms * np.random.default_rng(0).normal(size=(clips, *real["test phrases"].shape[1:]))
    sounds, rows, costs = dict(real), {name: {} for name in real}, {}
    for method in methods:
        found = drawn(method, folder, flops, labels, options)
        sounds.update(found.sounds)
        costs.update(found.costs)
        rows.update({name: {} for name in found.sounds})
        total = sum(cost.total for cost in found.costs.values())
        rows[method] = {"training operations": total, "seconds per phrase": found.seconds}
    measured = {name: statistics(x, rate) for name, x in sounds.items()}
    for name, values in measured.items():
        if name != "test phrases":
            rows[name].update(distances(values, measured["test phrases"]))
    columns = ["rhythm", "harmony", "timbre", "seconds per phrase", "training operations"]
    caption = (
        f"Fréchet distances to the test phrases, {clips} phrases each; {flops:.3g} training operations per method. "
        "Rhythm: onsets at 16 lags to 2 s; harmony: chroma at 12 lags to 3 s; timbre: mean and deviation of 48 log-mel "
        "bands, in squared nepers."
    )
    table = Table(["", *columns], [[name, *(rows[name].get(c) for c in columns)] for name in sounds], caption)
    networks = Table(
        ["network", "operations per step", "steps", "operations"],
        [[part, cost.per_step, cost.steps, cost.total] for part, cost in costs.items()],
        "Operations as XLA counts them in the gradient of a batch.",
    )
    write_results(folder / "hierarchy.json", rows)
    shown = {name: x[:6] for name, x in sounds.items() if name not in ("training phrases", "white noise")}
    widgets = audio_widgets(folder / "sounds", shown, rate, row_labels=phrases.named(labels[:6]))
    sections = [table, networks, *figures(folder / "structure.png", measured), Heading("Sounds"), widgets]
    report = write_report(
        folder / "report.html", "Hierarchy at equal compute", {"data": phrases.name, "phrases": clips}, sections
    )
    print(tables_as_text([table, networks]))
    return report
