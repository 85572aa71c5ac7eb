"""Evaluates pictures from captions: whether they show what is asked for, and how they differ from real ones.

    python -m experiments.text.evaluate --stages=runs/emoji_16 --evaluator=runs/contrastive_evaluator
    python -m experiments.text.evaluate --stages=runs/emoji_16,runs/emoji_32 --evaluator=runs/contrastive_evaluator \
        --captions=held_out --scales=1,2,3,5 --threshold=off,on --map_noise=0,0.1,0.3 --num=256
    python -m experiments.text.evaluate --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --evaluator=runs/contrastive_evaluator --beside=runs/emoji_32/text_evaluation --out=runs/decoder/text_evaluation
    python -m experiments.text.evaluate --stages=runs/digits_4,runs/digits_8 --evaluator=runs/digits_classifier

Pictures are drawn from captions that training has seen and from held-out ones, whose combinations of concepts it has
not, at every combination of γ, thresholding and noise on the smaller copy. An evaluator, a run of
contrastive encoders that no stage was trained with, looks up the caption of each; models of classes are
evaluated by a run of a classifier. Beside them are real pictures, and chance, and with ``--beside`` the
rows of another evaluation of the same captions. With ``--prior`` the first stage is a decoder: the prior draws an
embedding from each caption, at the guidance scale that it was saved with. The first stage may be a model of latents:
what it draws is decoded by its autoencoder.

Prints the table and writes ``report.html``, its pictures and ``rows.json`` into ``--out``. Every row is kept there as
soon as it is known, so that the same command goes on where it was stopped, and one with further settings adds theirs.
docs/text_to_image.md says what each column is.
"""

import functools
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.data import captions
from experiments.evaluation.kept_rows import KeptRows, rows_of
from experiments.models import run_files
from experiments.models.samples import digest_of
from experiments.reporting.report import credits, tables_as_text, write_report
from experiments.text import embeddings, evaluators, examples, measures
from experiments.text import evaluation_report as reporting
from experiments.text.cells import Cell, Painter, by_style, check_threshold, grid, in_two_batches, keep
from experiments.text.stages import check, first_config, for_full_pictures, open_stages, pictures_of, saved_stage

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, smallest pictures first.", required=True)
_PRIOR = flags.DEFINE_string("prior", None, "Folder of the run of a prior; the first stage is then a decoder.")
_EVALUATOR = flags.DEFINE_string("evaluator", None, "Folder of a run of contrastive encoders.", required=True)
_CAPTIONS = flags.DEFINE_enum("captions", "both", ["seen", "held_out", "both"], "Captions to draw from.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales of the first stage; as in its config by default.")
_THRESHOLD = flags.DEFINE_list("threshold", None, "Dynamic thresholding: off, on, or off,on; as saved by default.")
_NOISE = flags.DEFINE_list("map_noise", None, "Levels of noise on the smaller copy of the stages after the first.")
_NUM = shared.count("num", 256, "Pictures of each setting.", lower_bound=8)
_SEED = shared.seed("Seed of all noise.")
_VGG = flags.DEFINE_string("vgg_weights", None, "Weights of VGG-16, to compare pictures by its features as well.")
_OUT = shared.out("Folder of the results; text_evaluation in that of the last stage by default.")
_BESIDE = flags.DEFINE_string("beside", None, "Folder of the results of another evaluation, for the table as well.")
shared.reinterpret_weights()


class Settings(NamedTuple):
    """The guidance scales, thresholds and levels of noise that are compared."""

    scales: Sequence[float]
    thresholds: Sequence[bool | None]
    noises: Sequence[float | None]


def settings(config: Config, stages: int) -> Settings:
    """What the flags ask for."""
    scales = config.evaluation.guidance_scales
    if _SCALES.value is not None:
        scales = shared.guidance_scales("scales", _SCALES.value)
    thresholds, words = (None,), {"off": False, "on": True}
    if _THRESHOLD.value is not None:
        if not _THRESHOLD.value or not set(_THRESHOLD.value) <= words.keys():
            raise ConfigError(f"--threshold={','.join(_THRESHOLD.value)}: must be off, on, or off,on")
        thresholds = [words[each] for each in _THRESHOLD.value]
    if _NOISE.value is None:
        return Settings(scales, thresholds, (None,))
    if stages < 2:
        raise ConfigError(f"--map_noise={','.join(_NOISE.value)}: must be left out, no stage enlarges a picture")
    return Settings(scales, thresholds, shared.guidance_scales("map_noise", _NOISE.value))


def beside(about: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of the evaluation in ``--beside``, without real pictures and chance, by the name of its first stage."""
    if _BESIDE.value is None:
        return {}
    same = {
        "entries": "evaluator and captions",
        "num": "number of pictures",
        "seed": "seed",
        "vgg": "weights of VGG-16",
    }
    found, of = rows_of(shared.path(_BESIDE), about, same, f"--beside={_BESIDE.value}")
    first = f"{Path(of['stages'][0]).name} of {of['side']} x {of['side']} pixels"
    return {f"{first}: {name}": row for name, row in found.items() if not name.startswith(("real", "chance"))}


def identity_of(evaluator: evaluators.Evaluator, gallery: examples.Gallery) -> str:
    """Of an evaluator and the texts that it scores, the same on every machine."""
    return hashlib.sha256("\n".join([evaluator.identity, *gallery.texts]).encode()).hexdigest()[:16]


def main(config: Config) -> None:
    start = time.monotonic()
    names = [str(name) for name in _STAGES.value]
    configs = [config, *(for_full_pictures(saved_stage(name)) for name in names[1:])]
    prior_config = None if _PRIOR.value is None else saved_stage(_PRIOR.value, "prior")
    if prior_config is not None:
        embeddings.check_prior(prior_config, str(_PRIOR.value), config, names[0], written=True)
    check(configs, names, with_captions=False, embedded=prior_config is not None)
    for one, name in zip(configs[1:], names[1:], strict=True):
        run_files.check_same_data(one, config, f"--stages: {name}", names[0])
    evaluators.check(_EVALUATOR.value, config, names[0])
    compared = settings(config, len(names))
    for threshold in compared.thresholds:
        check_threshold(config, threshold, compared.scales)
    usual = Path(names[-1]).expanduser().absolute() / "text_evaluation"
    out = shared.results_folder(_OUT, usual, kind="evaluations of pictures", continues=True)
    priors = [] if prior_config is None else [prior_config]
    saved = [digest_of(one) for one in (*configs, *priors)]
    for one in (*configs, *priors):
        in_two_batches(one, _NUM.value)
    for one in configs[1:] if _NOISE.value else ():
        one.sampling.map_noise = max(each or 0.0 for each in compared.noises)  # the others are allowed where it is
    stages = open_stages(configs, names)
    first, last = pictures_of(stages[0]), pictures_of(stages[-1])
    gallery, found = examples.of_captions(first) if captions.wanted(config) else examples.of_classes(first)
    wanted = _CAPTIONS.value.replace("_", " ")
    found = {kind: some for kind, some in found.items() if wanted == "both" or kind in (wanted, examples.CLASSES)}
    evaluator = evaluators.open_evaluator(_EVALUATOR.value, names[-1], last.shape[0], gallery)
    prior = None if prior_config is None else embeddings.open_prior(prior_config, str(_PRIOR.value), stages[0])
    evaluators.check_independent(_EVALUATOR.value, evaluator, stages if prior is None else [*stages, prior.stage])
    vgg = measures.vgg_features(_VGG.value)
    real = functools.cache(lambda: measures.reference(last, evaluator, vgg))
    about = {"stages": names, "steps": [stage.run.step for stage in stages], "configs": saved,
             "evaluator": _EVALUATOR.value, "entries": identity_of(evaluator, gallery),
             "side": last.shape[0],
             "num": _NUM.value, "seed": _SEED.value, "vgg": _VGG.value}  # fmt: skip
    if prior is not None:
        about |= {"prior": _PRIOR.value, "steps": [*about["steps"], prior.stage.run.step]}
    others = beside(about)
    rows, painter, kept = KeptRows(out / "rows.json", about), Painter(stages, _SEED.value, prior), out / "pictures"
    cells = grid(list(found), *compared)

    def compute(cell: Cell) -> measures.Row:
        some = found[cell.kind].some(_NUM.value)
        pictures, seconds = painter(cell, some)
        keep(cell.file(kept), pictures, some.texts)
        row = measures.measure(pictures[-1], some, evaluator, real())
        return {**row, measures.SECONDS: [seconds, 0.0], measures.PICTURES: [_NUM.value, 0.0]}

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
        sections.append(reporting.style_section(out, styles, first.styles, best))
    sections += credits(last.credit)
    facts = {"stages": ", ".join(names), "prior": _PRIOR.value, "evaluator": _EVALUATOR.value}
    facts = {name: value for name, value in facts.items() if value is not None} | {"pictures of each row": _NUM.value}
    report = write_report(out / "report.html", f"scorekit: {first.name}, pictures from captions", facts, sections)
    print(tables_as_text([table]))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: first_config(_STAGES.value), base.check_fields)
