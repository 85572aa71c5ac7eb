"""Longer structure at lower cost? A flat waveform model, a latent prior and a cascade, at equal training compute.

    python -m experiments.benchmarks.hierarchy --flops=1e13 --out=runs/hierarchy
    python -m experiments.benchmarks.hierarchy --flops=1e13 --out=runs/hierarchy --methods=latent

Every method gets ``--flops`` floating-point operations of training on phrases of 4.096 s at 4 kHz, as XLA's
``cost_analysis`` counts them in the gradient of one batch; that makes a number of steps for each of its networks. The
flat model takes all of them; the autoencoder and the prior, and the low-rate model and the upsampler, share them by
``SHARES``. The prior pays for encoding the training set. Networks are trained with :func:`experiments.training.loop.fit`;
stopped at any moment, the same command continues, and what a method has drawn is kept in ``--out`` and not drawn again.

Then ``--clips`` phrases of each, of the instruments of the test phrases, are compared with the test phrases: Fréchet
distances of the autocorrelation of onsets and of the self-similarity of the chroma at lags up to 2 and 3 s
(:mod:`scorekit.audio.structure`), and of log-mel statistics (:func:`scorekit.audio.features.log_mel_statistics`), which
do not see structure. Training phrases, white noise, and the test phrases through the autoencoder, are measured
likewise. Seconds are of sampling after a first call.
"""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags, logging

from experiments.cli import progress
from experiments.cli.config import Config, ConfigError
from experiments.configs.latents import phrases_latent, phrases_of_latents
from experiments.configs.phrases import phrases_1khz, phrases_4khz
from experiments.data.conditions import dropout_rates
from experiments.data.dataset import Dataset, load_dataset
from experiments.evaluation.run_metrics import run_metrics as evaluation
from experiments.latents.stages import Stage, draw
from experiments.latents.stages import whole as whole_sounds
from experiments.models import autoencoder as latent_model
from experiments.models import model
from experiments.models.latents import STANDARD
from experiments.models.runs import Experiment
from experiments.reporting import audio_widgets as players
from experiments.reporting import curves
from experiments.reporting.report import Figure, Heading, Section, Table, tables_as_text, write_report
from experiments.training import loop
from scorekit import metrics
from scorekit.audio import structure
from scorekit.audio.features import log_mel_statistics
from scorekit.io.files import write_atomic
from scorekit.typing import PyTree

_FLOPS = flags.DEFINE_float("flops", 1e13, "Floating-point operations of training for each method.", lower_bound=1.0)
_METHODS = flags.DEFINE_list("methods", ["flat", "latent", "cascade"], "What to train and to measure.")
_CLIPS = flags.DEFINE_integer("clips", 100, "Phrases to draw of each method.", lower_bound=2)
_CHANNELS = flags.DEFINE_integer("channels", 48, "Channels of the first level of every network.", lower_bound=8)
_OUT = flags.DEFINE_string("out", "runs/hierarchy", "Folder for everything that is left behind.")
_SMOKE = flags.DEFINE_bool("smoke", False, "Tiny networks on a few phrases, for tests: the sounds are noise.")

SHARES = {"autoencoder": 0.35, "prior": 0.65, "low rate": 0.5, "upsampler": 0.5, "flat": 1.0}
"""Of the operations of a method."""
PARTS = {"flat": ("flat",), "latent": ("autoencoder", "prior"), "cascade": ("low rate", "upsampler")}


class Cost(NamedTuple):
    """What training took: operations of one step, steps, operations in all, and seconds of this call."""

    per_step: float
    steps: int
    total: float
    seconds: float


def flat_config() -> Config:
    """The waveform at once: the U-Net of the low-rate model with a stem of 16 samples."""
    config = phrases_1khz.get_config()
    config.data.form.update(name="waveform", factor=None)
    config.network.update(patch=16, multipliers=(1, 2, 2, 2), factors=(4, 2, 2))
    return config


def config_of(part: str, folder: Path) -> Config:
    """The config of a network, with what is the same for all."""
    made: dict[str, Callable[[], Config]] = {
        "flat": flat_config,
        "autoencoder": phrases_latent.get_config,
        "prior": phrases_of_latents.get_config,
        "low rate": phrases_1khz.get_config,
        "upsampler": phrases_4khz.get_config,
    }
    config = made[part]()
    config.training.update(batch_size=8, ema_decays=(0.99,), sample_every=10**9, keep=1)
    config["autoencoder" if part == "autoencoder" else "network"].channels = _CHANNELS.value
    if part == "autoencoder":
        config.evaluation.ema = "0.99"
    else:
        config.sampling.update(ema="0.99", guidance_scale=1.0, batch_size=25)
    if part == "prior":
        config.data.latents = str(folder / "autoencoder")
    if part == "upsampler":
        config.sampling.steps = 10  # the low band is given
    if _SMOKE.value:
        config.data.update(train_split="test[:8]", test_split="test[:8]")
        config.training.batch_size = 2
        if part != "autoencoder":
            config.sampling.steps = 2
    return config


def operations(function: Callable, *arguments: Any) -> float:
    """Floating-point operations of a function for these arguments, by XLA's count before it optimises."""
    found: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return float((found[0] if isinstance(found, list) else found)["flops"])


def step_operations(prepare: Callable, loss: Callable, params: PyTree, batch: dict[str, np.ndarray]) -> float:
    """Those of the gradient of one batch, its preparation included."""
    gradient = lambda params, batch: jax.grad(lambda p: loss(p, prepare(jax.random.key(0), batch))[0].mean())(params)
    return operations(gradient, params, batch)


def fitted(part: str, folder: Path, flops: float, prepaid: float = 0.0) -> tuple[Config, Dataset, Any, PyTree, Cost]:
    """Trains one network with so many operations, ``prepaid`` of them spent already: its config and data, what is built
    of it, its parameters and what they cost."""
    config = config_of(part, folder)
    dataset = load_dataset(config)
    if part == "autoencoder":
        built = latent_model.build_latent(config, dataset)
        params = latent_model.init_params(built, dataset, config.seed)
        prepare, loss = latent_model.make_prepare(built, dataset), latent_model.make_loss(built)
        held_out = latent_model.held_out_loss(built, dataset)
    else:
        built = model.build_model(config, dataset)
        params = model.init_params(built, jax.random.key(config.seed))
        prepare = model.make_prepare(built, dataset, dropout_rates(config), config.loss.joint_dropout)
        loss = model.make_loss(built)
        held_out = evaluation.held_out_loss(built, dataset)
    batch = dataset.batch(config.seed, 0, config.training.batch_size)
    per_step = step_operations(prepare, loss, params, batch)
    steps = max(round((flops - prepaid) / per_step), 2)
    config.training.update(steps=steps, warmup_steps=min(100, steps // 5), checkpoint_every=steps, log_every=20)
    start = time.monotonic()
    print(f"{part}: {steps:,} steps of {progress.human(per_step)} operations", flush=True)
    workdir = folder / part.replace(" ", "_")
    averaged = lambda state: state.ema["0.99"]
    state = loop.fit(
        config, workdir, dataset, params=params, prepare=prepare, loss=loss, averaged=averaged, held_out=held_out
    )
    seconds = time.monotonic() - start
    return config, dataset, built, averaged(state), Cost(per_step, steps, per_step * steps + prepaid, seconds)


def stage(part: str, folder: Path, flops: float, prepaid: float = 0.0) -> tuple[Stage, Cost]:
    """A trained diffusion model, ready to draw whole phrases."""
    config, dataset, built, params, cost = fitted(part, folder, flops, prepaid)
    if config.data.crop is not None:
        config = whole_sounds(config)
        dataset = load_dataset(config)
        built = model.build_model(config, dataset)
    generate = model.make_sampler(config, built, dataset)
    return Stage(config, Experiment(dataset, built, generate, params, cost.steps, model.NO_EXTRAS)), cost


def trained(method: str, folder: Path, flops: float) -> tuple[list[Stage], dict[str, Cost]]:
    """The stages of a method and what each network cost, the autoencoder included."""
    if method != "latent":
        pairs = {part: stage(part, folder, SHARES[part] * flops) for part in PARTS[method]}
        return [pair[0] for pair in pairs.values()], {part: pair[1] for part, pair in pairs.items()}
    config, dataset, built, params, cost = fitted("autoencoder", folder, SHARES["autoencoder"] * flops)
    del config
    encode = latent_model.make_encode(built, dataset, params)
    path = folder / "autoencoder" / STANDARD
    if not path.exists():
        write_atomic(path, json.dumps(latent_model.standard(encode, dataset)) + "\n")
    whole = load_dataset(config_without_latents(folder))
    encoding = operations(encode, whole.train["x"][:1]) * (whole.examples or 0)
    prior, second = stage("prior", folder, SHARES["prior"] * flops, encoding)
    return [prior], {"autoencoder": cost, "prior": second}


def config_without_latents(folder: Path) -> Config:
    """The config of the prior for the phrases themselves."""
    config = config_of("prior", folder)
    config.data.latents = None
    return config


def statistics(sounds: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Vectors that describe each sound ``(N, L)``: of rhythm, harmony and timbre."""

    @jax.jit
    def run(x):
        return {
            "rhythm": structure.rhythm_statistics(x, sample_rate),
            "harmony": structure.harmony_statistics(x, sample_rate),
            "timbre": log_mel_statistics(x, sample_rate),
        }

    return latent_model.in_batches(run, np.asarray(sounds, np.float32), min(20, len(sounds)))


def distances(found: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> dict[str, float]:
    """Fréchet distances of the statistics."""
    return {name: float(metrics.frechet_distance(values, real[name])) for name, values in found.items()}


class Drawn(NamedTuple):
    """What a method has drawn, the seconds that a phrase takes once everything is compiled, and what training cost."""

    sounds: dict[str, np.ndarray]
    seconds: float
    costs: dict[str, Cost]


def drawn(method: str, folder: Path, flops: float, labels: np.ndarray) -> Drawn:
    """Trains a method and draws phrases of it, or reads what it has drawn before."""
    path = folder / f"{method}.npz"
    if path.exists():
        with np.load(path) as archive:
            facts = json.loads(str(archive["facts"]))
            sounds = {name: archive[name] for name in archive.files if name != "facts"}
        if facts["flops"] != flops:
            raise ConfigError(f"--flops={flops:g}: {path} was drawn after {facts['flops']:g}; use another --out")
        return Drawn(sounds, facts["seconds"], {part: Cost(*cost) for part, cost in facts["costs"].items()})
    stages, costs = trained(method, folder, flops)
    print(f"{method}: drawing {len(labels)} phrases …", flush=True)
    draw(stages, 1, labels[:25])
    found, seconds = draw(stages, 0, labels)
    sounds = {method: found[-1]}
    if method == "latent":
        latents = stages[0].run.dataset
        parts = [latents.test["x"][i : i + 25] for i in range(0, len(latents.test["x"]), 25)]
        back = [np.asarray(latents.from_model(latents.to_model(part))) for part in parts]
        sounds["test phrases, autoencoded"] = np.concatenate(back)
    each = sum(seconds) / len(labels)
    facts = {"flops": flops, "seconds": each, "costs": {part: list(cost) for part, cost in costs.items()}}
    archive = io.BytesIO()
    np.savez(archive, facts=json.dumps(facts), **sounds)  # type: ignore[arg-type]
    write_atomic(path, archive.getvalue())
    return Drawn(sounds, each, costs)


def figures(path: Path, found: dict[str, dict[str, np.ndarray]]) -> list[Section]:
    """The mean statistics by lag, of every row."""
    lags = {"rhythm": structure.ONSET_LAGS, "harmony": structure.CHROMA_LAGS}
    drawn = [
        curves.panels(
            path.with_name(f"{path.stem}_{name}.png"),
            at,
            {"": {row: values[name].mean(0) for row, values in found.items()}},
            xlabel="lag (seconds)",
            ylabel={"rhythm": "autocorrelation of onsets", "harmony": "self-similarity of the chroma"}[name],
            title=f"{name.capitalize()}: means over phrases",
            logarithmic=False,
        )
        for name, at in lags.items()
    ]
    return [Figure(drawn[0], "Beats show as maxima."), Figure(drawn[1], "Chords that come back show as maxima.")]


def main(_) -> None:
    logging.set_verbosity(logging.WARNING)
    start, folder, flops = time.monotonic(), Path(_OUT.value).expanduser().absolute(), _FLOPS.value
    for method in _METHODS.value:
        if method not in PARTS:
            raise ConfigError(f"--methods={','.join(_METHODS.value)}: must be of {', '.join(PARTS)}")
    whole = load_dataset(config_without_latents(folder))
    assert whole.sample_rate is not None
    rate, clips = whole.sample_rate, _CLIPS.value
    labels = np.resize(whole.test["label"], clips)
    real = {"test phrases": whole.real(whole.test), "training phrases": whole.real({"x": whole.train["x"][:clips]})}
    level = float(np.sqrt(np.mean(real["test phrases"] ** 2)))
    real["white noise"] = level * np.random.default_rng(0).normal(size=(clips, *real["test phrases"].shape[1:]))
    sounds, rows, costs = dict(real), {name: {} for name in real}, {}
    for method in _METHODS.value:
        found = drawn(method, folder, flops, labels)
        sounds.update(found.sounds)
        costs.update(found.costs)
        rows.update({name: {} for name in found.sounds})
        total = sum(cost.total for cost in found.costs.values())
        rows[method] = {"training operations": total, "seconds a phrase": found.seconds}
    measured = {name: statistics(x, rate) for name, x in sounds.items()}
    for name, values in measured.items():
        if name != "test phrases":
            rows[name].update(distances(values, measured["test phrases"]))
    columns = ["rhythm", "harmony", "timbre", "seconds a phrase", "training operations"]
    caption = (
        f"Fréchet distances to the test phrases, {clips} phrases each; {flops:.3g} operations of training a method. "
        "Rhythm: onsets at 16 lags to 2 s; harmony: chroma at 12 lags to 3 s; timbre: mean and deviation of 48 log-mel "
        "levels, in squared nepers."
    )
    table = Table(["", *columns], [[name, *(rows[name].get(c) for c in columns)] for name in sounds], caption)
    networks = Table(
        ["network", "operations a step", "steps", "operations"],
        [[part, cost.per_step, cost.steps, cost.total] for part, cost in costs.items()],
        "Operations as XLA counts them in the gradient of a batch.",
    )
    write_atomic(folder / "hierarchy.json", json.dumps(rows, indent=2) + "\n")
    heard = {name: x[:6] for name, x in sounds.items() if name not in ("training phrases", "white noise")}
    playing = players.players(folder / "sounds", heard, rate, row_labels=labels[:6].tolist())
    sections = [table, networks, *figures(folder / "structure.png", measured), Heading("Sounds"), playing]
    report = write_report(
        folder / "report.html", "Hierarchy at equal compute", {"data": whole.name, "phrases": clips}, sections
    )
    print(tables_as_text([table, networks]))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    app.run(main)
