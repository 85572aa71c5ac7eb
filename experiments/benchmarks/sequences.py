"""Models of the same quantised data: bits and speed of each, and what guidance and truncation make of the conditionals.

    python -m experiments.benchmarks.sequences --runs=runs/digits_pixels,runs/digits_masked,runs/digits
    python -m experiments.benchmarks.sequences --counted=runs/digits_short
    python -m experiments.benchmarks.sequences --guided=runs/digits_pixels --temperatures=0.5,0.7

``--runs`` are runs of experiments.train on the same quantised data, in any order of the symbols: models of sequences,
whose bits per value are exact or a bound, and continuous diffusion models, with the exact likelihood of the
probability-flow ODE (dequantised uniformly) and the variational bound of the quantised values, all on the first
``--examples`` test examples. ``--counted`` is an autoregressive run of short sequences, all of which are counted:
guidance of each conditional beside guidance of the joint; temperature, top-k, nucleus and typical sampling of the
conditionals beside the joint at the temperature of equal entropy; the joint at low temperatures, and its most probable
sequences. ``--guided`` is one of sequences that are too long for that: guidance and temperature of the conditionals
beside those of the joint, by particles.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict

from experiments.benchmarks import counted_sequences, joint_sequences
from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError, leaves
from experiments.configs import kinds
from experiments.data.dataset import Dataset
from experiments.evaluation.exact import exact_bits
from experiments.evaluation.run_metrics import variational_bound
from experiments.evaluation.sequence_metrics import bits_per_symbol
from experiments.models.runs import open_run, write_results
from experiments.reporting.report import Table, tables_as_text
from experiments.sequences import runs as sequence_runs
from scorekit import autoregressive as ar
from scorekit.io import as_path
from scorekit.typing import Array

_RUNS = shared.define(flags.DEFINE_list, "runs", [], "Folders of runs of experiments.train on the same data.")
_COUNTED = shared.define(flags.DEFINE_string, "counted", None, "Folder of an autoregressive run of short sequences.")
_GUIDED = shared.define(flags.DEFINE_string, "guided", None, "Folder of an autoregressive run of images.")
_SCALES = shared.define(
    flags.DEFINE_list, "scales", ["0", "0.5", "1", "2", "3", "4"], "Guidance scales, with --counted and --guided."
)
_TEMPERATURES = shared.define(
    flags.DEFINE_list, "temperatures", ["0.1", "0.3", "0.5", "0.7", "1"], "Of the joint, with --counted and --guided."
)
_PARTICLES = shared.define(flags.DEFINE_list, "particles", ["1", "16", "64"], "Numbers of them, with --guided.")
_DRAWN = shared.count("drawn", 200, "Samples of each row, with --guided.", 2)
_EXAMPLES = shared.define(
    flags.DEFINE_integer, "examples", None, "Test examples of every likelihood; all by default.", lower_bound=2
)
_SAMPLES = shared.count("samples", 100, "Samples that are timed.")
_OUT = shared.out("JSON file of the tables; none by default.")
shared.reinterpret_weights()

TRUNCATIONS: dict[str, Callable[[Array], Array]] = {
    "temperature 0.7": lambda logits: ar.temperature(logits, 0.7),
    "top-k 3": lambda logits: ar.top_k(logits, min(3, logits.shape[-1])),
    "nucleus 0.8": lambda logits: ar.nucleus(logits, 0.8),
    "nucleus 0.5": lambda logits: ar.nucleus(logits, 0.5),
    "typical 0.8": lambda logits: ar.typical(logits, 0.8),
    "typical 0.5": lambda logits: ar.typical(logits, 0.5),
}


DATA = ("name", "path", "train_split", "test_split", "image_size", "image_mode", "image_crop", "label", "crop", "peak",
        "latents", "map.name", "vector.name", "tokens.name")  # fmt: skip
"""The fields of ``data`` that are the same in runs of the same examples and conditions."""


def data_of(config: Config) -> dict[str, Any]:
    """The fields that say which symbols a likelihood is of, and given what; not the order, nor how many values."""
    of_data = dict(leaves(config.data))
    found = {f"data.{name}": of_data.get(name, "none" if name.endswith(".name") else None) for name in DATA}
    symbols = config.symbols if kinds.is_sequence(config) else {"name": "pixels"}
    name = "pixels" if symbols["name"] == "planes" else symbols["name"]  # the same values
    return found | {"symbols.name": name, "symbols.factor": symbols.get("factor") or 1}


def check_same_data(folders: list[str], configs: list[Config]) -> None:
    """Raises a ``ConfigError`` unless all runs are of the data of the first."""
    first = data_of(configs[0])
    for folder, config in zip(folders, configs, strict=True):
        for field, value in data_of(config).items():
            if value != first[field]:
                raise ConfigError(
                    f"--runs={folder}: must be of the data of {folders[0]}, with config.{field}={first[field]}, this "
                    f"one has {value}"
                )


def seconds_per_sample(generate: Callable, params: Any, num_classes: int) -> float:
    """CPU seconds of a sample, without guidance and compilation, and of all cores together."""
    labels = np.arange(_SAMPLES.value, dtype=np.int32) % num_classes
    seconds = math.nan
    for seed in (0, 1):
        start = time.process_time()
        generate(params, seed, labels, 1.0)
        seconds = time.process_time() - start
    return seconds / len(labels)


def restrict(dataset: Dataset) -> int:
    """Measures a data set on its first ``--examples`` test examples, and returns how many these are."""
    total = len(dataset.test["x"])
    dataset.max_evaluated = min(_EXAMPLES.value or total, total)
    return dataset.max_evaluated


def rows_of_run(folder: str) -> tuple[tuple[int, int], list[list[Any]]]:
    """The values and how many of them the data of a run have, and a row for each kind of likelihood that it has."""
    config: Config = kinds.saved(folder)
    name = as_path(folder).name
    if kinds.is_sequence(config):
        config = config.copy_and_resolve_references()
        config.sampling.guidance_scale, config.sampling.batch_size = 1.0, _SAMPLES.value
        run = sequence_runs.open_run(config, as_path(folder).absolute(), scales=(1.0,))
        restrict(run.dataset)
        bits = bits_per_symbol(config, run.model, run.dataset, run.params)
        seconds = seconds_per_sample(run.generate, run.params, run.dataset.num_classes)
        kind, coding = "exact" if bits.kind == "exact" else "variational bound", run.dataset.coding
        total, error = bits.total * coding.split, bits.error * coding.split
        size = coding.num_values, bits.symbols // coding.split
        return size, [[name, config.model, kind, total, error, bits.examples, seconds]]
    config = config.copy_and_resolve_references()
    config.sampling.batch_size = _SAMPLES.value
    run = open_run(config, as_path(folder).absolute(), None, (1.0,))
    if run.dataset.bins is None:
        raise ConfigError(f"--runs={folder}: must be of quantised data, {run.dataset.name} is continuous")
    config.evaluation.exact_examples = restrict(run.dataset)
    seconds = seconds_per_sample(run.generate, run.params, run.dataset.num_classes)
    bound = variational_bound(config, run.model, run.dataset, run.params)
    exact = exact_bits(config, run.model, run.dataset, run.params)
    model = f"continuous, {config.sampling.steps} steps"
    rows = [
        [name, model, "variational bound", bound.total, bound.error, bound.examples, seconds],
        [name, model, "probability-flow ODE, dequantised", exact.total, exact.error, exact.examples, seconds],
    ]
    return (run.dataset.bins, math.prod(run.model.shape)), rows


def likelihood_table(folders: list[str]) -> Table:
    """Bits per value and speed of every run.

    Raises:
      ConfigError: for runs of other data than the first, or with another vocabulary or length.
    """
    check_same_data(folders, [kinds.saved(folder) for folder in folders])
    first, rows = None, []
    for folder in folders:
        size, found = rows_of_run(folder)
        first = size if first is None else first
        if size != first:
            raise ConfigError(
                f"--runs={folder}: must be of {first[1]} symbols of {first[0]} values, as the first run, this one has "
                f"{size[1]} of {size[0]}"
            )
        rows += found
    header = ["run", "model", "likelihood", "bits per value", "standard error", "examples", "CPU s per sample"]
    return Table(header, rows, "On held-out data given their classes; a batch is sampled without guidance.")


def counted_tables(folder: str) -> list[Table]:
    """Guidance and truncation of the conditionals beside the joint."""
    config: Config = kinds.saved(folder)
    if not kinds.is_sequence(config):
        raise ConfigError(f"--counted={folder}: must be a run of a model of sequences")
    scales = shared.guidance_scales("scales", _SCALES.value)
    run = sequence_runs.open_run(config, as_path(folder).absolute(), scales=scales)
    counted = counted_sequences.count(run)
    rows = []
    for scale in scales:
        sequential, joint = counted_sequences.guided_rows(counted, scale)
        rows.append(
            [f"{scale:g}", sequential.distance, sequential.accuracy, joint.accuracy, sequential.entropy, joint.entropy]
        )
    header = ["γ", "total variation", "accuracy, conditionals", "joint", "entropy, conditionals", "joint "]
    caption = (
        f"Each conditional guided, and the joint: {counted.uncond.size:,} sequences counted, means over classes; "
        f"entropy in bits per sequence; the classifier is right for {counted.real:.1%} of real test data."
    )
    guided, rows = Table(header, rows, caption), []
    for name, transform in TRUNCATIONS.items():
        changed, joint = counted_sequences.truncated_rows(counted, transform)
        rows.append([name, changed.distance, changed.accuracy, joint.accuracy, changed.entropy])
    header = ["conditionals", "total variation", "accuracy, conditionals", "joint", "entropy"]
    caption = "Changed conditionals, at γ = 1, beside the joint at the temperature of equal entropy."
    temperatures = shared.increasing("temperatures", _TEMPERATURES.value)
    cold = counted_sequences.temperature_table(counted, temperatures)
    return [guided, Table(header, rows, caption), cold, counted_sequences.modes_table(counted, run)]


def guided_tables(folder: str) -> list[Table]:
    """Guidance and temperature of the conditionals beside those of the joint, of sequences that are not counted."""
    config: Config = kinds.saved(folder)
    if not kinds.is_sequence(config):
        raise ConfigError(f"--guided={folder}: must be a run of a model of sequences")
    scales = shared.guidance_scales("scales", _SCALES.value)
    temperatures = shared.increasing("temperatures", _TEMPERATURES.value)
    particles = [round(n) for n in shared.increasing("particles", _PARTICLES.value)]
    if not particles or ",".join(map(str, particles)) != ",".join(_PARTICLES.value):
        raise ConfigError(f"--particles={','.join(_PARTICLES.value)}: must be integers >= 1, as in 1,16,64")
    run = sequence_runs.open_run(config, as_path(folder).absolute(), scales=scales)
    joint_sequences.check(run, folder)
    tables = [joint_sequences.joint_table(run, scales, particles, _DRAWN.value)]
    return [*tables, joint_sequences.joint_table(run, temperatures, particles, _DRAWN.value, temperature=True)]


def main(_: ConfigDict) -> None:
    if not _RUNS.value and not _COUNTED.value and not _GUIDED.value:
        raise ConfigError("--runs=…, --counted=… or --guided=… must be given: folders of runs of experiments.train")
    out = shared.results(_OUT, None, "") if _OUT.value else None
    tables = [likelihood_table(_RUNS.value)] if _RUNS.value else []
    tables += counted_tables(_COUNTED.value) if _COUNTED.value else []
    tables += guided_tables(_GUIDED.value) if _GUIDED.value else []
    print(tables_as_text(tables))
    if out is not None:
        print(f"wrote {write_results(out, [table.records() for table in tables])}")


if __name__ == "__main__":
    command_line.run(main, ConfigDict, lambda config: None)
