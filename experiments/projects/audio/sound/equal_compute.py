"""Long-range structure of a waveform model, a model of latents and a cascade, at equal training compute.

    python -m experiments.projects.audio.sound.equal_compute --flops=5e12 --out=runs/hierarchy

Every method has a budget of floating-point operations for training on phrases of 4.096 s at 4 kHz, as
XLA's ``cost_analysis`` counts them in the gradient of one batch; this determines the number of steps of each network.
Autoencoder and prior, and low-rate model and upsampler, share it as ``METHODS`` says. Encoding the training set is part
of the budget of the prior. The same command continues a training that was stopped.

Then phrases of each method, with the instruments of the test phrases, are compared with the test phrases:
Fréchet distances of the autocorrelation of onsets and of the self-similarity of the chroma at lags up to 2 and 3 s
(:mod:`scorekit.audio.structure`), and of log-mel statistics, which are insensitive to structure. Training phrases,
white noise, and reconstructions of the test phrases by the autoencoder are measured for comparison. Sampling time
excludes the first call.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np
from absl import flags, logging

from experiments import data, tasks
from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.cli.outputs import write_results
from experiments.configs.latents import phrases_latent, phrases_of_latents
from experiments.configs.phrases import phrases_1khz, phrases_4khz
from experiments.data.sounds import Sounds
from experiments.projects.audio.sound.phrase_statistics import distances, statistics
from experiments.reporting.tables import Table, tables_as_text
from experiments.tasks.latents import model as autoencoder
from experiments.tasks.latents.latent_data import STATISTICS
from experiments.tasks.latents.stages import CascadeStage, draw, for_full_sounds
from experiments.tasks.task import Run
from experiments.training.train_network import train_network
from scorekit.typing import PyTree

_OUT = shared.out("Folder for everything that is written.", "runs/hierarchy")
_FLOPS = flags.DEFINE_float("flops", 1e13, "Floating-point operations of training of each method.", lower_bound=1.0)
_CLIPS = flags.DEFINE_integer("clips", 100, "Phrases to draw of each method.", lower_bound=2)

METHODS = {
    "flat": {"flat": 1.0},
    "latent": {"autoencoder": 0.35, "prior": 0.65},
    "cascade": {"low rate": 0.5, "upsampler": 0.5},
}
"""The networks of a method with their fractions of the training operations."""


def config_of(part: str, folder: Path) -> Config:
    """The config of a network, with the fields that are the same for all."""
    modules = {"autoencoder": phrases_latent, "prior": phrases_of_latents, "upsampler": phrases_4khz}
    config = modules.get(part, phrases_1khz).get_config()
    config.training.update(batch_size=8, ema_decays=(0.99,), sample_every=10**9, keep=1)
    config["autoencoder" if part == "autoencoder" else "network"].channels = 48
    if part == "flat":  # of the waveform: the U-Net of the low-rate model with patches of 16 samples
        config.data.representation.name = "waveform"
        config.network.update(patch=16, multipliers=(1, 2, 2, 2), factors=(4, 2, 2))
    if part == "autoencoder":
        config.evaluation.ema = "0.99"
    else:
        config.sampling.update(ema="0.99", guidance_scale=1.0, batch_size=25)
    if part == "prior":
        config.latents = str(folder / "autoencoder")
    if part == "upsampler":
        config.sampling.steps = 10  # the low band is given
    return config


def operations(function: Callable, *arguments: Any) -> float:
    """Floating-point operations of a function for these arguments, as XLA counts them before optimisation."""
    found: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"])


def step_operations(prepare: Callable, loss: Callable, params: PyTree, batch: dict[str, np.ndarray]) -> float:
    """Floating-point operations of the gradient of one batch, including its preparation."""
    gradient = lambda params, batch: jax.grad(lambda p: loss(p, prepare(jax.random.key(0), batch))[0].mean())(params)
    return operations(gradient, params, batch)


def fit(part: str, folder: Path, budget: float) -> tuple[Config, Run, list]:
    """Trains one network with a budget of operations; its row has operations of a step, steps and all operations."""
    config = config_of(part, folder)
    task = tasks.of(config)
    dataset = task.load(config)
    model, workdir = task.build(config, dataset), folder / part.replace(" ", "_")
    trained = lambda: task.build(config, dataset).trained._replace(draw=None)
    untrained, batch = trained(), dataset.batch(config.seed, 0, config.training.batch_size)
    params = untrained.init(jax.random.key(config.seed))
    per_step = step_operations(untrained.prepare, untrained.loss, params, batch)
    steps = max(round(budget / per_step), 2)
    config.training.update(steps=steps, warmup_steps=min(100, steps // 5), checkpoint_every=steps, log_every=20)
    print(f"{part}: {steps:,} steps of {progress.human(per_step)} operations", flush=True)
    params = train_network(config, workdir, trained(), dataset)
    if config.data.crop is not None and part != "autoencoder":
        config = for_full_sounds(config)
        dataset = task.load(config)
        model = task.build(config, dataset)
    return config, Run(dataset, model.built, model.generate, params, steps), [part, per_step, steps, per_step * steps]


def load_phrases(folder: Path) -> Sounds:
    """The phrases whose latents are the data of the prior."""
    return cast(Sounds, data.build(config_of("prior", folder)))


def main(_) -> Path:
    folder = shared.results_folder(_OUT, continues=True)
    logging.set_verbosity(logging.WARNING)
    clips, phrases = _CLIPS.value, load_phrases(folder)
    labels = np.resize(phrases.test["label"], clips)
    test, training = phrases.real(phrases.test), phrases.real({"x": phrases.train["x"][:clips]})
    noise = np.random.default_rng(0).normal(size=(clips, *test.shape[1:]))
    sounds = {"test phrases": test, "training phrases": training, "white noise": np.sqrt(np.mean(test**2)) * noise}
    seconds, networks = {}, []
    for method, parts in METHODS.items():
        stages, spent = [], 0.0
        for part, fraction in parts.items():
            config, run, row = fit(part, folder, fraction * _FLOPS.value - spent)
            networks.append(row)
            if part != "autoencoder":
                stages.append(CascadeStage(config, run))
                continue
            encode, path = autoencoder.make_encode(run.model, run.params), folder / "autoencoder" / STATISTICS
            if not path.exists():
                write_results(path, autoencoder.statistics(encode, run.dataset))
            spent = operations(encode, phrases.train["x"][:1]) * (phrases.examples or 0)
            networks.append(["encoding", None, None, spent])
        print(f"{method}: drawing {clips} phrases …", flush=True)
        draw(stages, 1, labels[:25])
        drawn, times = draw(stages, 0, labels)
        sounds[method], seconds[method] = drawn[-1], sum(times) / clips
        if method == "latent":
            latents = stages[0].run.dataset
            parts = [latents.test["x"][i : i + 25] for i in range(0, len(latents.test["x"]), 25)]
            back = [np.asarray(latents.from_model(latents.to_model(part))) for part in parts]
            sounds["test phrases, autoencoded"] = np.concatenate(back)
    measured = {name: statistics(x, phrases.sample_rate) for name, x in sounds.items()}
    reference = measured.pop("test phrases")
    rows = {name: distances(values, reference) for name, values in measured.items()}
    columns = ["rhythm", "harmony", "timbre"]
    caption = (
        f"Fréchet distances to the test phrases, {clips} phrases each; {_FLOPS.value:.3g} training operations per "
        "method. Rhythm: onsets at 16 lags to 2 s; harmony: chroma at 12 lags to 3 s; timbre: mean and deviation of 48 "
        "log-mel bands, in squared nepers."
    )
    lines = [[name, *(row[column] for column in columns), seconds.get(name)] for name, row in rows.items()]
    counted = "Operations as XLA counts them in the gradient of a batch."
    header = ["network", "operations per step", "steps", "operations"]
    tables = [Table(["", *columns, "seconds per phrase"], lines, caption), Table(header, networks, counted)]
    print(tables_as_text(tables))
    return write_results(folder / "hierarchy.json", [table.records() for table in tables])


if __name__ == "__main__":
    command_line.run(main)
