"""Evaluates images from captions: whether they match their captions, and how they differ from real images.

    python -m experiments.projects.text.evaluate --stages=runs/emoji_16 --evaluator=runs/contrastive_evaluator
    python -m experiments.projects.text.evaluate --stages=runs/emoji_16,runs/emoji_32 \
        --evaluator=runs/contrastive_evaluator --captions=held_out --scales=1,2,3,5 --map_noise=0.3 --num=256
    python -m experiments.projects.text.evaluate --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --evaluator=runs/contrastive_evaluator --out=runs/decoder/text_evaluation
    python -m experiments.projects.text.evaluate --stages=runs/emoji_16 --evaluator=runs/contrastive_evaluator \
        --config.guidance=classifier_free,dynamic_threshold --out=runs/emoji_16/thresholded

Images are drawn from captions that training has seen and from held-out ones, whose combinations of concepts it has
not seen, at every guidance scale of the first stage, from the same noise. An evaluator, a run of contrastive encoders
that no stage was trained with, retrieves the caption of each image. Further rows are real images and chance. With
``--prior`` the first stage is a decoder: the prior draws an embedding from each caption, at the guidance scale that it
was saved with.

Prints the table and writes ``report.html``, its images and ``rows.json`` into ``--out``. Every row is saved there as
soon as it is known: the same command continues where it was stopped, and a command with further scales adds their rows.
The project's README explains the columns.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.cli.outputs import write_arrays, write_results
from experiments.data import on_captions
from experiments.data.dataset import evenly
from experiments.models import run_files
from experiments.models.samples import digest_of
from experiments.projects.text import embeddings, evaluation_report
from experiments.projects.text import stages as cascades
from experiments.projects.text.evaluation import Evaluator, chance, measure, of_captions, of_real, reference
from experiments.projects.text.prompts import Prompt
from experiments.projects.text.stages import Stage
from experiments.reporting.report import credits, write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.contrastive.embeddings import Encoder, open_encoder
from experiments.tasks.diffusion import task as diffusion

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, smallest images first.", required=True)
_PRIOR = flags.DEFINE_string("prior", None, "Folder of the run of a prior; the first stage is then a decoder.")
_EVALUATOR = flags.DEFINE_string("evaluator", None, "Folder of a run of contrastive encoders.", required=True)
_CAPTIONS = flags.DEFINE_enum("captions", "both", ["seen", "held_out", "both"], "Captions to draw from.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scales of the first stage; as in its config by default.")
_NOISE = flags.DEFINE_list("map_noise", None, "Noise on the smaller copy, of each stage after the first.")
_NUM = shared.count("num", 256, "Images of each row.", lower_bound=8)
_SEED = shared.seed("Seed of all noise.")
_OUT = shared.out("Folder of the results; text_evaluation in that of the last stage by default.")
shared.reinterpret_weights()
SHOWN = 8
"""Images of each row that are kept for the report."""


def check_evaluator(given: str, encoder: Encoder, stages: Sequence[Stage], side: int) -> None:
    """Validates that an evaluator takes the images, and that no stage nor a prior was trained with its weights.

    Such a stage has been trained for high values from this evaluator.
    """
    for stage in stages:
        recorded = run_files.recorded_encoder(Path(stage.name).expanduser())
        if encoder.checksum in (stage.run.dataset.encoder, recorded):
            raise ConfigError(
                f"{given}: must be one that no stage was trained with, {stage.name} was trained on its embeddings; "
                f"train another one, with another seed"
            )
    size = encoder.image_size
    if side % size and size % side:
        raise ConfigError(
            f"{given}: must take images of a multiple or a divisor of {side} x {side} pixels, not {size} x {size}"
        )


def rows_of(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The rows that an earlier call with these settings has written."""
    if not path.exists():
        return {}
    saved = json.loads(path.read_text())
    names = [name for name in settings if saved["settings"].get(name) != settings[name]]
    if names:
        theirs, ours = ({name: each.get(name) for name in names} for each in (saved["settings"], settings))
        raise ConfigError(f"{path}: holds rows of {theirs}, not of {ours}; move it away")
    return saved["rows"]


def main(config: Config) -> Path:
    configs, names, *_ = cascade = cascades.saved_cascade(config, _STAGES.value, _PRIOR.value)
    if not on_captions(config):
        raise ConfigError(f"--stages: {names[0]} must have captions as a condition: its images are compared with them")
    embeddings.check_prior(cascade)
    cascades.check(cascade, embedded=cascade.prior is not None)
    cascades.set_noise(configs, _NOISE)
    scales = list(config.evaluation.guidance_scales)
    scales = scales if _SCALES.value is None else shared.guidance_scales("scales", _SCALES.value)
    given = f"--evaluator={_EVALUATOR.value}"
    encoder = open_encoder(_EVALUATOR.value, given)
    run_files.check_same_data(encoder.config, config, given, names[0])
    out = shared.results_folder(
        _OUT, Path(names[-1]).expanduser().absolute() / "text_evaluation", continues=".text_evaluation"
    )
    stages = cascades.open_stages(configs, names, scales)
    prior = embeddings.open_prior(cascade, stages[0])
    opened, last = [*stages, *([] if prior is None else [prior.stage])], cascades.images_of(stages[-1])
    check_evaluator(given, encoder, opened, last.shape[0])

    gallery, parts = of_captions(cascades.images_of(stages[0]))
    parts = {kind: each for kind, each in parts.items() if _CAPTIONS.value in ("both", kind.replace(" ", "_"))}
    evaluator = Evaluator(encoder.embed_pictures, encoder.embed_texts(gallery))
    settings = {"stages": names, "prior": cascade.prior, "evaluator": encoder.checksum, "num": _NUM.value}
    settings |= {"seed": _SEED.value, "captions": digest_of({}, evaluator.gallery)}
    settings |= {"models": [digest_of(each.config.to_dict(), jax.device_get(each.run.params)) for each in opened]}
    rows, real = rows_of(out / "rows.json", settings), functools.cache(lambda: reference(last, evaluator))

    def keep(name: str, row: Mapping[str, Any]) -> None:
        rows[name] = dict(row)
        write_results(out / "rows.json", {"settings": settings, "rows": rows})

    for kind, each in parts.items():
        some = each.some(_NUM.value)
        written, shown = [Prompt(text, ((text, 1.0),)) for text in some.texts], evenly(len(some.texts), SHOWN)
        embedding = None
        for scale in scales:
            name, file = evaluation_report.name_of(kind, scale), evaluation_report.file_of(out, kind, scale)
            if name in rows and file.exists():
                continue
            print(f"{name} …", flush=True)
            if prior is not None and embedding is None:
                embedding = embeddings.from_captions(prior, _SEED.value, some.labels, written, None, None)
            drawn = cascades.draw(stages, _SEED.value, some.labels, written, None, embedding, scale=scale)
            texts, kept = np.asarray(some.texts)[shown], {f"stage_{i}": x[shown] for i, x in enumerate(drawn)}
            write_arrays(file, caption=texts, **kept)
            keep(name, measure(drawn[-1], some.right, evaluator, real()))
        if f"real images, {kind}" not in rows:
            keep(f"chance, {kind}", chance(each.right))
            keep(f"real images, {kind}", of_real(last, kind, each, evaluator, real()))

    about = f"Looked up among {len(gallery):,} captions, of which those of the same subject are right."
    table = evaluation_report.table(rows, about)
    print(tables_as_text([table]))
    sections = [table, *evaluation_report.figures(out, rows, list(parts), scales), *credits(last.credit)]
    facts = {"stages": ", ".join(names), "evaluator": _EVALUATOR.value, "images of each row": _NUM.value}
    facts |= {} if prior is None else {"prior": cascade.prior}
    title = f"scorekit: {cascades.images_of(stages[0]).name}, images from captions"
    return write_report(out / "report.html", title, facts, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: cascades.first_config(_STAGES.value), diffusion.check_fields)
