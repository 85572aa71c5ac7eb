"""The interface of a task, and the values that its functions exchange."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from experiments import training
from experiments.cli import distributed
from experiments.cli.choices import Choices
from experiments.cli.config import Config
from experiments.cli.fields import Field, Section
from experiments.data.dataset import Dataset
from experiments.models.devices import param_shapes
from experiments.models.run_files import check_class_names, check_weights, restore
from experiments.models.samples import PartialSamples
from experiments.reporting.report import Section as ReportSection
from experiments.reporting.run_report import Findings
from experiments.reporting.samples import sample_sections
from experiments.training.loop import Trainable
from scorekit.arguments import Count, OneOf
from scorekit.typing import PyTree

SEED = Field(0, Count(0, 2**32 - 2), "Of the parameters, the batches and the noise of training.")
"""One below the largest seed of a PRNG key: evaluation uses the next seed."""
AT_END = Field(None, bool, "Whether a training ends with metrics; False leaves them to experiments.evaluate.")
LEFT_OUT = {"evaluation": "left out; experiments.evaluate finds the metrics"}
"""The facts of a report without them."""
SAMPLES = Field(
    None,
    Count(1, 10**8),
    """
    Samples that metrics are computed on; None is as many as there are training examples, at most 1500.""",
)


class Setup(NamedTuple):
    """Everything that a run of a config uses, built for its data.

    Attributes:
      config: config that is saved with the run.
      model: network with all that belongs to it, of a class of its task.
      section: section of the network in the config.
      trained: the network as it is trained; the first of several.
      generate: the sampler, a :data:`~experiments.models.samples.Generate`; None for a model that draws nothing.
      plan: further values for ``train`` of the same task.
    """

    config: Config
    model: Any
    section: str
    trained: Trainable
    generate: Callable | None = None
    plan: Any = None


class Run(NamedTuple):
    """A trained model with its data and sampler, the step of its checkpoint, and the inputs of rules from other runs.

    ``generate`` is None for a model that draws nothing.
    """

    dataset: Dataset
    model: Any
    generate: Any
    params: PyTree
    step: int
    extras: Any = ()


class Asked(NamedTuple):
    """The results that an evaluation should find.

    Attributes:
      partial: store of samples until the caller has written the evaluation.
      stem: path of figures without ending; None at the end of training, which draws samples too and writes figures into
        the folder of the run.
      exact: whether to find the exact likelihood as well.
    """

    partial: PartialSamples
    stem: str | None = None
    exact: bool = False

    def figures(self, workdir: Path, name: str) -> str:
        """The path of a figure, without ending, that is called ``name`` in the folder of a run."""
        return str(workdir / name) if self.stem is None else self.stem


class Task(Protocol):
    """A kind of model: a module with these functions, which :data:`experiments.tasks.TASKS` names."""

    @property
    def OPENED_BY(self) -> str:
        """The programs that open such a run, in a sentence, for programs that open runs of other tasks."""
        ...

    def fields(self, config: Config | None = None) -> Section:
        """The fields of its config."""
        ...

    def load(self, config: Config) -> Dataset:
        """The data, of which no rows are read."""
        ...

    def resolve(self, config: Config, dataset: Dataset) -> Config:
        """The config with what weights and data decide; it is the ``config.json`` of the run."""
        ...

    def build(self, config: Config, dataset: Dataset) -> Setup:
        """Constructs everything that the run uses, which is the check of the config; nothing is computed or read."""
        ...

    def train(self, config: Config, dataset: Dataset, setup: Setup, workdir: Path) -> PyTree:
        """Trains into ``workdir``, or continues; returns the parameters that are published."""
        ...

    def open_run(self, config: Config, workdir: Path, step: int | None, scales: Sequence[float] | None) -> Run:
        """A trained run, to sample at these guidance scales, or with None to evaluate."""
        ...

    def drawn_by(self, config: Config) -> str:
        """A name for what draws samples; nothing for a task without samples."""
        ...

    def evaluate(self, config: Config, run: Run, workdir: Path, asked: Asked) -> Findings:
        """Numbers, tables and figures of a run."""
        ...


def fields(task: str, data: Choices, /, *, seed: str = SEED.meaning, **sections: Any) -> Section:
    """The fields of a task: those that all have, and its own sections."""
    name = Field(task, OneOf(task), "What is trained: a task of experiments.tasks.")
    return Section(task=name, seed=replace(SEED, meaning=seed), data=data, **sections, training=training.FIELDS)


def unchanged(config: Config, dataset: Dataset) -> Config:
    """``resolve`` of a task whose config says all."""
    del dataset
    return config


def open_run(load, build, config: Config, workdir: Path, step: int | None = None, scales=None) -> Run:
    """A run with its averaged parameters of a checkpoint; the first two are functions of its task."""
    dataset = load(config)
    setup = build(config, dataset)
    check_class_names(dataset.class_names, check_weights(config, workdir, step), workdir)
    like = param_shapes(setup.section, config[setup.section].to_dict(), lambda: setup.trained.init(jax.random.key(0)))
    step, params = restore(f"--workdir={workdir}", workdir, step, setup.trained.ema, like)
    return Run(dataset, setup.model, setup.generate, jax.tree.map(jnp.asarray, params), step)


def drawn_at_end(config: Config, run: Run, workdir: Path, asked: Asked, title: str) -> list[ReportSection]:
    """Samples at the end of training, by the sampler of the config, for its report; nothing in a later evaluation."""
    if asked.stem is not None:
        return []
    samples = run.generate(run.params, config.seed, run.dataset.preview().labels, config.sampling.guidance_scale)
    return sample_sections(distributed.folder(workdir), run.dataset, samples, title)


def draws_nothing(config: Config) -> str:
    """``drawn_by`` of a task without samples."""
    del config
    return ""


def facts(run: Run) -> dict[str, Any]:
    """The facts about a run in every report."""
    return {"data": run.dataset.name, "checkpoint": f"step {run.step:,}"}
