"""Evaluates images from captions: whether they match their captions, and how they differ from real images.

    python -m experiments.projects.text.evaluate --stages=runs/emoji_16 --evaluator=runs/contrastive_evaluator
    python -m experiments.projects.text.evaluate --stages=runs/emoji_16,runs/emoji_32 \
        --evaluator=runs/contrastive_evaluator \
        --captions=held_out --scales=1,2,3,5 --threshold=off,on --map_noise=0,0.1,0.3 --num=256
    python -m experiments.projects.text.evaluate --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --evaluator=runs/contrastive_evaluator --beside=runs/emoji_32/text_evaluation --out=runs/decoder/text_evaluation
    python -m experiments.projects.text.evaluate --stages=runs/digits_4,runs/digits_8 --evaluator=runs/digits_classifier

Pictures are drawn from captions that training has seen and from held-out ones, whose combinations of concepts it has
not seen, at every combination of γ, thresholding and noise on the smaller copy. An evaluator, a run of contrastive
encoders that no stage was trained with, retrieves the caption of each image; models of classes are evaluated by a run
of a classifier. Further rows are real images and chance, and with ``--beside`` the rows of another evaluation of the
same captions. With ``--prior`` the first stage is a decoder: the prior draws an embedding from each caption, at the
guidance scale that it was saved with. The first stage may be a model of latents: its samples are decoded by its
autoencoder.

Prints the table and writes ``report.html``, its pictures and ``rows.json`` into ``--out``. Every row is saved there as
soon as it is known: the same command continues where it was stopped, and a command with further settings adds their
rows. docs/text_to_image.md explains the columns.
"""

from pathlib import Path

from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.models import run_files
from experiments.projects.text import evaluation, evaluators
from experiments.projects.text.cells import check_threshold, grid
from experiments.projects.text.embeddings import check_prior
from experiments.projects.text.stages import check, first_config, saved_cascade
from experiments.reporting.report import write_report
from experiments.reporting.tables import tables_as_text
from experiments.tasks.diffusion import task as diffusion

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


def main(config: Config) -> Path:
    cascade = saved_cascade(config, _STAGES.value, _PRIOR.value)
    configs, names = cascade.configs, cascade.names
    check_prior(cascade, written=True)
    check(configs, names, with_captions=False, embedded=cascade.prior is not None)
    for one, name in zip(configs[1:], names[1:], strict=True):
        run_files.check_same_data(one, config, f"--stages: {name}", names[0])
    evaluators.check(_EVALUATOR.value, config, names[0])
    compared = evaluation.settings(config, len(names), _SCALES.value, _THRESHOLD.value, _NOISE.value)
    usual = Path(names[-1]).expanduser().absolute() / "text_evaluation"
    out = shared.results_folder(_OUT, usual, continues=True)
    about = {"seed": _SEED.value, "vgg": _VGG.value}
    subject = evaluation.open_subject(cascade, _EVALUATOR.value, compared.noises, _CAPTIONS.value, _NUM.value, about)
    for threshold in compared.thresholds:
        check_threshold(config, subject.stages[0].run.dataset, threshold, compared.scales)
    others = {}
    if _BESIDE.value is not None:
        others = evaluation.other_rows(shared.path(_BESIDE), subject.about, f"--beside={_BESIDE.value}")
    table, sections = evaluation.evaluate(subject, grid(list(subject.examples), *compared), out, others)
    facts = {"stages": ", ".join(names), "prior": _PRIOR.value, "evaluator": _EVALUATOR.value}
    facts = {name: value for name, value in facts.items() if value is not None} | {"pictures of each row": _NUM.value}
    print(tables_as_text([table]))
    title = f"scorekit: {subject.first.name}, pictures from captions"
    return write_report(out / "report.html", title, facts, sections)


if __name__ == "__main__":
    command_line.run(main, lambda: first_config(_STAGES.value), diffusion.check_fields)
