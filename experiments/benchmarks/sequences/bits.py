"""Bits per value and speed of models of the same quantised data."""

import math
import time
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from experiments import tasks
from experiments.cli.config import Config, ConfigError, leaves
from experiments.data.dataset import Dataset
from experiments.data.symbols import Symbols
from experiments.evaluation.exact import exact_bits
from experiments.evaluation.run_metrics import variational_bound
from experiments.evaluation.sequence_metrics import bits_per_symbol
from experiments.models import sequence_sampling as sequence_runs
from experiments.models.runs import open_run
from experiments.reporting.tables import Table
from scorekit.io import as_path

DATA = ("name", "path", "train_split", "test_split", "image_size", "image_mode", "image_crop", "label", "crop", "peak",
        "latents", "map.name", "vector.name", "tokens.name")  # fmt: skip
"""The fields of ``data`` that are the same in runs of the same examples and conditions."""


def data_of(config: Config) -> dict[str, Any]:
    """The fields that determine the symbols and conditions of a likelihood; not the order or number of values."""
    of_data = dict(leaves(config.data))
    found = {f"data.{name}": of_data.get(name, "none" if name.endswith(".name") else None) for name in DATA}
    symbols = config.symbols if config.task == "sequence" else {"name": "pixels"}
    name = "pixels" if symbols["name"] == "planes" else symbols["name"]  # the same values
    return found | {"symbols.name": name, "symbols.factor": symbols.get("factor") or 1}


def check_same_data(folders: list[str], configs: list[Config]) -> None:
    """Raises a ``ConfigError`` unless all runs are of the data of the first."""
    first = data_of(configs[0])
    for folder, config in zip(folders, configs, strict=True):
        for field, value in data_of(config).items():
            if value != first[field]:
                ours = f"config.{field}={first[field]}, this one has {value}"
                raise ConfigError(f"--runs={folder}: must be of the data of {folders[0]}, with {ours}")


def seconds_per_sample(generate: Callable, params: Any, num_classes: int, samples: int) -> float:
    """CPU seconds of a sample, without guidance and compilation, and of all cores together."""
    labels = np.arange(samples, dtype=np.int32) % num_classes
    seconds = math.nan
    for seed in (0, 1):
        start = time.process_time()
        generate(params, seed, labels, 1.0)
        seconds = time.process_time() - start
    return seconds / len(labels)


def restrict(dataset: Dataset, examples: int | None) -> int:
    """Measures a data set on its first ``examples`` test examples, and returns how many these are."""
    total = len(dataset.test["x"])
    dataset.max_evaluated = min(examples or total, total)
    return dataset.max_evaluated


def rows_of_run(folder: str, examples: int | None, samples: int) -> tuple[tuple[int, int], list[list[Any]]]:
    """The values and how many of them the data of a run have, and a row for each kind of likelihood that it has."""
    config: Config = tasks.saved(folder, "diffusion", "sequence").copy_and_resolve_references()
    name, config.sampling.batch_size = as_path(folder).name, samples
    if config.task == "sequence":
        config.sampling.guidance_scale = 1.0
        run = sequence_runs.open_run(config, as_path(folder).absolute(), scales=(1.0,))
        dataset = cast(Symbols, run.dataset)
        restrict(dataset, examples)
        bits = bits_per_symbol(config, run.model, dataset, run.params)
        seconds = seconds_per_sample(run.generate, run.params, dataset.num_classes, samples)
        kind, coding = "exact" if bits.kind == "exact" else "variational bound", dataset.coding
        total, error = bits.total * coding.split, bits.error * coding.split
        size = coding.num_values, bits.symbols // coding.split
        return size, [[name, config.model, kind, total, error, bits.examples, seconds]]
    run = open_run(config, as_path(folder).absolute(), None, (1.0,))
    if run.dataset.bins is None:
        raise ConfigError(f"--runs={folder}: must be a run on quantised data, {run.dataset.name} is continuous")
    config.evaluation.exact_examples = restrict(run.dataset, examples)
    seconds = seconds_per_sample(run.generate, run.params, run.dataset.num_classes, samples)
    bound = variational_bound(config, run.model, run.dataset, run.params)
    exact = exact_bits(config, run.model, run.dataset, run.params)
    model = f"continuous, {config.sampling.steps} steps"
    rows = [
        [name, model, "variational bound", bound.total, bound.error, bound.examples, seconds],
        [name, model, "probability-flow ODE, dequantised", exact.total, exact.error, exact.examples, seconds],
    ]
    return (run.dataset.bins, math.prod(run.model.shape)), rows


def likelihood_table(folders: list[str], examples: int | None, samples: int) -> list[Table]:
    """Bits per value and speed of every run, which must be of the data, vocabulary and length of the first."""
    check_same_data(folders, [tasks.saved(folder, "diffusion", "sequence") for folder in folders])
    first, rows = None, []
    for folder in folders:
        size, found = rows_of_run(folder, examples, samples)
        first = size if first is None else first
        if size != first:
            given = f"--runs={folder}: must be of {first[1]} symbols of {first[0]} values, as the first run"
            raise ConfigError(f"{given}, this one has {size[1]} of {size[0]}")
        rows += found
    header = ["run", "model", "likelihood", "bits per value", "standard error", "examples", "CPU s per sample"]
    return [Table(header, rows, "On held-out data given their classes; a batch is sampled without guidance.")]
