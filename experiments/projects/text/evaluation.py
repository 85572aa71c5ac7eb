"""An evaluation of pictures from captions: what is compared, its rows, and the sections of its report."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.data import on_captions
from experiments.data.images import ImageSet
from experiments.models.samples import digest_of
from experiments.projects.text import embeddings, evaluators, examples, measures
from experiments.projects.text import evaluation_report as reporting
from experiments.projects.text.cells import Cell, Painter, by_style, in_two_batches, keep
from experiments.projects.text.embeddings import Prior
from experiments.projects.text.kept_rows import KeptRows, rows_of
from experiments.projects.text.stages import Cascade, Stage, open_stages, pictures_of
from experiments.reporting.report import Section, credits
from experiments.reporting.tables import Table


class Settings(NamedTuple):
    """The guidance scales, thresholds and levels of noise that are compared."""

    scales: Sequence[float]
    thresholds: Sequence[bool | None]
    noises: Sequence[float | None]


def settings(
    config: Config,
    stages: int,
    scales: Sequence[str] | None,
    thresholds: Sequence[str] | None,
    noises: Sequence[str] | None,
) -> Settings:
    """The settings of flags, by default from the config of the first stage."""
    words = {"off": False, "on": True}
    found = config.evaluation.guidance_scales if scales is None else shared.guidance_scales("scales", scales)
    if thresholds is not None and (not thresholds or not set(thresholds) <= words.keys()):
        raise ConfigError(f"--threshold={','.join(thresholds)}: must be off, on, or off,on")
    compared = (None,) if thresholds is None else [words[each] for each in thresholds]
    if noises is None:
        return Settings(found, compared, (None,))
    if stages < 2:
        raise ConfigError(f"--map_noise={','.join(noises)}: must be left out, no stage enlarges a picture")
    return Settings(found, compared, shared.guidance_scales("map_noise", noises))


class Subject(NamedTuple):
    """The opened models of an evaluation.

    Attributes:
      stages: stages of the cascade.
      prior: prior of the first one, if it is a decoder.
      evaluator: evaluator that looks up what pictures show.
      gallery: texts among which it does.
      examples: captions or classes to draw from, by kind.
      about: settings that the rows depend on, as for JSON.
    """

    stages: list[Stage]
    prior: Prior | None
    evaluator: evaluators.Evaluator
    gallery: examples.Gallery
    examples: dict[str, examples.Examples]
    about: dict[str, Any]

    @property
    def first(self) -> ImageSet:
        """The data of the first stage."""
        return pictures_of(self.stages[0])

    @property
    def last(self) -> ImageSet:
        """The data of the last stage."""
        return pictures_of(self.stages[-1])


def open_subject(
    cascade: Cascade, evaluator_path: str, noises: Sequence[float | None], kinds: str, num: int, about: dict[str, Any]
) -> Subject:
    """Opens the stages of a cascade, its prior and the evaluator.

    Args:
      cascade: cascade whose configs are checked.
      evaluator_path: folder of its run.
      noises: levels of noise that are compared.
      kinds: kind of the captions, or both.
      num: pictures of each setting.
      about: further settings that the rows depend on.
    """
    configs, names, prior_config = cascade.configs, cascade.names, cascade.prior_config
    every = [*configs, *([] if prior_config is None else [prior_config])]
    saved = [digest_of(one) for one in every]
    for one in every:
        in_two_batches(one, num)
    for one in configs[1:] if any(each is not None for each in noises) else ():
        one.sampling.map_noise = max(each or 0.0 for each in noises)  # the others are allowed where it is
    stages = open_stages(configs, names)
    first, last = pictures_of(stages[0]), pictures_of(stages[-1])
    gallery, found = examples.of_captions(first) if on_captions(configs[0]) else examples.of_classes(first)
    wanted = kinds.replace("_", " ")
    found = {kind: some for kind, some in found.items() if wanted == "both" or kind in (wanted, examples.CLASSES)}
    evaluator = evaluators.open_evaluator(evaluator_path, names[-1], last.shape[0], gallery)
    prior = None if prior_config is None else embeddings.open_prior(prior_config, str(cascade.prior), stages[0])
    each = stages if prior is None else [*stages, prior.stage]
    evaluators.check_independent(evaluator_path, evaluator, each)
    texts = "\n".join([evaluator.identity, *gallery.texts])
    about = {
        "stages": names,
        "steps": [stage.run.step for stage in each],
        "configs": saved,
        "evaluator": evaluator_path,
        "entries": hashlib.sha256(texts.encode()).hexdigest()[:16],
        "side": last.shape[0],
        "num": num,
        **about,
        **({} if prior is None else {"prior": cascade.prior}),
    }
    return Subject(stages, prior, evaluator, gallery, found, about)


def other_rows(folder: Path, about: Mapping[str, Any], given: str) -> dict[str, Any]:
    """The rows of another evaluation, without real pictures and chance, by the name of its first stage."""
    same = {
        "entries": "evaluator and captions",
        "num": "number of pictures",
        "seed": "seed",
        "vgg": "weights of VGG-16",
    }
    found, of = rows_of(folder, about, same, given)
    first = f"{Path(of['stages'][0]).name} of {of['side']} x {of['side']} pixels"
    return {f"{first}: {name}": row for name, row in found.items() if not name.startswith(("real", "chance"))}


def evaluate(
    subject: Subject, cells: Sequence[Cell], out: Path, others: Mapping[str, Any]
) -> tuple[Table, list[Section]]:
    """Draws the pictures of every setting and measures them; rows that are in ``out`` already are not drawn again.

    Returns:
      The table, with the rows ``others`` at its end, and all sections of the report.
    """
    stages, prior, evaluator, gallery, found, about = subject
    num, kept, last = about["num"], out / "pictures", subject.last
    vgg = measures.vgg_features(about["vgg"])
    real = functools.cache(lambda: measures.reference(last, evaluator, vgg))
    rows, painter = KeptRows(out / "rows.json", about), Painter(stages, about["seed"], prior)

    def compute(cell: Cell) -> measures.Row:
        some = found[cell.kind].some(num)
        pictures, seconds = painter(cell, some)
        keep(cell.file(kept), pictures, some.texts)
        row = measures.measure(pictures[-1], some, evaluator, real())
        return {**row, measures.SECONDS: [seconds, 0.0], measures.PICTURES: [num, 0.0]}

    for cell in cells:
        rows.row(cell.name, functools.partial(compute, cell))
    for kind, some in found.items():
        rows.row(f"real pictures, {kind}", lambda k=kind, e=some: measures.of_real(last, k, e, evaluator, real()))
        rows.row(f"chance, {kind}", lambda e=some: measures.chance(evaluator, e))
    table = reporting.table({**rows.rows(), **others}, evaluator.name, gallery.about)
    sections = [table, *reporting.curve_sections(out, cells, rows.rows())]
    sections += reporting.picture_sections(out, kept, cells, rows.rows())
    best = reporting.best_of([cell for cell in cells if cell.kind == cells[-1].kind], rows.rows())
    styles = kept / f"styles_{hashlib.sha256(repr((about, best)).encode()).hexdigest()[:16]}.npz"
    if by_style(stages, found[best.kind], painter, best, styles):
        sections.append(reporting.style_section(out, styles, subject.first.styles, best))
    return table, sections + credits(last.credit)
