"""Evaluates pictures from captions: whether they show what is asked for, and how they differ from real ones.

    python -m experiments.text.evaluate --stages=runs/emoji_16 --evaluator=runs/contrastive_evaluator
    python -m experiments.text.evaluate --stages=runs/emoji_16,runs/emoji_32 --evaluator=runs/contrastive_evaluator \
        --captions=held_out --scales=1,2,3,5 --threshold=off,on --map_noise=0,0.1,0.3 --num=256
    python -m experiments.text.evaluate --stages=runs/digits_4,runs/digits_8 --evaluator=runs/digits_classifier

Pictures are drawn from captions that training has seen and from held-out ones, whose combinations of concepts it has
not, at every combination of γ, thresholding and noise on the smaller copy. An evaluator, a run of
experiments.text.contrastive that no stage was trained with, looks up the caption of each; models of classes are
evaluated by a run of experiments.train_classifier. Beside them are real pictures, and chance.

Prints the table and writes ``report.html``, its pictures and ``rows.json`` into ``--out``. Every row is kept there as
soon as it is known, so that the same command goes on where it was stopped, and one with further settings adds theirs.
docs/text_to_image.md says what each column is.
"""

import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.data import captions
from experiments.models.kept_rows import KeptRows
from experiments.models.partial import digest_of
from experiments.reporting.report import tables_as_text, write_report
from experiments.text import evaluation_report as reporting
from experiments.text import evaluators, examples, measures
from experiments.text.cells import Cell, Painter, by_style, grid, in_two_batches, keep
from experiments.text.stages import check, for_full_pictures, open_stages, pictures_of

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, smallest pictures first.", required=True)
_EVALUATOR = flags.DEFINE_string("evaluator", None, "Folder of a run of experiments.text.contrastive.", required=True)
_CAPTIONS = flags.DEFINE_enum("captions", "both", ["seen", "held_out", "both"], "Captions to draw from.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales of the first stage; as in its config by default.")
_THRESHOLD = flags.DEFINE_list("threshold", None, "Dynamic thresholding: off, on, or off,on; as saved by default.")
_NOISE = flags.DEFINE_list("map_noise", None, "Levels of noise on the smaller copy of the stages after the first.")
_NUM = shared.count("num", 256, "Pictures of each setting.", lower_bound=8)
_SEED = shared.seed("Seed of all noise.")
_VGG = flags.DEFINE_string("vgg_weights", None, "Weights of VGG-16, to compare pictures by its features as well.")
_OUT = flags.DEFINE_string("out", None, "Folder of the results; text_evaluation in that of the last stage by default.")
shared.reinterpret_weights()


def first_config() -> Config:
    """The config of the first stage."""
    return for_full_pictures(base.saved(_STAGES.value[0]))


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


def main(config: Config) -> None:
    start = time.monotonic()
    names = [str(name) for name in _STAGES.value]
    configs = [config, *(for_full_pictures(base.saved(name)) for name in names[1:])]
    check(configs, names, with_captions=False)
    evaluators.check(_EVALUATOR.value, config)
    compared = settings(config, len(names))
    out = shared.path(_OUT) if _OUT.value else Path(names[-1]).expanduser().absolute() / "text_evaluation"
    shared.check_writable(out, f"--out={out}")
    saved = [digest_of(one) for one in configs]
    for one in configs:
        in_two_batches(one, _NUM.value)
    for one in configs[1:] if _NOISE.value else ():
        one.sampling.map_noise = max(each or 0.0 for each in compared.noises)  # the others are allowed where it is
    stages = open_stages(configs, names)
    first, last = pictures_of(stages[0]), pictures_of(stages[-1])
    examples.check_same_pictures(first, last, names)
    gallery, found = examples.of_captions(first) if captions.wanted(config) else examples.of_classes(first)
    wanted = _CAPTIONS.value.replace("_", " ")
    found = {kind: some for kind, some in found.items() if wanted == "both" or kind in (wanted, examples.CLASSES)}
    evaluator = evaluators.open_evaluator(_EVALUATOR.value, stages[-1], gallery)
    vgg = measures.vgg_features(_VGG.value)
    real = functools.cache(lambda: measures.reference(last, evaluator, vgg))
    about = {"stages": names, "steps": [stage.run.step for stage in stages], "configs": saved,
             "evaluator": _EVALUATOR.value, "entries": hashlib.sha256(evaluator.entries.tobytes()).hexdigest()[:16],
             "num": _NUM.value, "seed": _SEED.value, "vgg": _VGG.value}  # fmt: skip
    rows, painter, kept = KeptRows(out / "rows.json", about), Painter(stages, _SEED.value), out / "pictures"
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
    table = reporting.table(rows.rows(), evaluator.name, gallery.about)
    sections = [table, *reporting.curve_sections(out, cells, rows.rows())]
    sections += reporting.picture_sections(out, kept, cells, rows.rows())
    styles = kept / f"styles_{hashlib.sha256(repr((about, cells[-1])).encode()).hexdigest()[:16]}.npz"
    if by_style(stages, found[cells[-1].kind], painter, cells[-1], styles):
        sections.append(reporting.style_section(out, styles, first.styles))
    facts = {"stages": ", ".join(names), "evaluator": _EVALUATOR.value, "pictures of each row": _NUM.value}
    report = write_report(out / "report.html", f"scorekit: {first.name}, pictures from captions", facts, sections)
    print(tables_as_text([table]))
    print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, first_config, base.check_fields)
