"""Draws images from captions through a cascade: a small image, and models that each enlarge it.

    python -m experiments.projects.text.draw --stages=runs/emoji_16,runs/emoji_32,runs/emoji_64 --caption="red heart"
    python -m experiments.projects.text.draw --stages=… --caption="cat face:1.5 + red heart:0.5" --negative="dog face" \
        --num=4
    python -m experiments.projects.text.draw --stages=… --caption="red heart" --style=noto --scales=5,1,1 \
        --map_noise=0.1,0.2 --config.guidance=apg,dynamic_threshold --config.rules.dynamic_threshold.percentile=0.95
    python -m experiments.projects.text.draw --prior=runs/prior --stages=runs/decoder,runs/emoji_32 \
        --caption="red heart"

Every stage is a run of experiments.train; those after the first are conditioned on a smaller copy
(``config.conditions.map``, ``average_pool``), here the image from the previous stage. In a stage that was trained with
noise-conditioning augmentation (``config.loss.map_noise``) this copy is corrupted at the level of ``--map_noise``. A
stage that was trained on crops draws full images.

With ``--prior`` the first stage is a decoder: the prior draws two embeddings from each caption, and the image is
drawn from the one that is closer to the caption's.

Captions with weights are composed: ``u + sum_k w_k (c_k - u)`` takes the place of the conditional branch of every
guidance rule. A negative caption takes the place of ``u``, the unconditional branch. Each caption, the negative one
too, has its own embedding from the prior. The colon of a weight follows a letter or a space: ``12:30`` is text. Fields
given as ``--config.…`` apply to the first stage, which decides what is drawn; the other stages keep their saved values.

Writes an image, the stages side by side with the caption under them, ``.html`` with it and the config of the first
stage, and ``.npz`` (``x`` of the last stage and ``stage_<i>`` of the others, ``caption``) into the folder
``drawn`` of the last stage.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.projects.text import drawing, embeddings
from experiments.projects.text import stages as cascades
from experiments.projects.text.prompts import parse, single
from experiments.reporting.report import Figure
from experiments.tasks.diffusion import task as diffusion

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, smallest images first.", required=True)
_PRIOR = flags.DEFINE_string("prior", None, "Folder of the run of a prior; the first stage is then a decoder.")
_CAPTION = flags.DEFINE_multi_string(
    "caption", None, "Caption; repeat for several. Weights as in a:1.5 + b:0.5.", required=True
)
_STYLE = flags.DEFINE_string("style", None, "Style of drawing, whose words are added to each caption.")
_NEGATIVE = flags.DEFINE_string("negative", None, "A caption in place of the unconditional branch of guidance.")
_NUM, _SEED = shared.count("num", 1, "Images of each caption."), shared.seed("Seed of all noise.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scale of each stage; as they were saved by default.")
_NOISE = flags.DEFINE_list("map_noise", None, "Noise on the smaller copy, of each stage after the first.")
_OUT = shared.out("Path of the results without ending; drawn/drawn in the last run by default.")
shared.reinterpret_weights()


def main(config: Config) -> str:
    prompts = [parse(text, "--caption", _STYLE.value) for text in _CAPTION.value for _ in range(_NUM.value)]
    negative = None if _NEGATIVE.value is None else single(_NEGATIVE.value, "--negative")
    configs, names, *_ = cascade = cascades.saved_cascade(config, _STAGES.value, _PRIOR.value)
    for one, scale in zip(configs, cascades.numbers(_SCALES, len(names)), strict=False):
        one.sampling.guidance_scale = scale
    cascades.set_noise(configs, _NOISE)
    embeddings.check_prior(cascade)
    cascades.check(cascade, cascade.prior is not None)
    out = shared.results(_OUT, Path(names[-1]).expanduser().absolute() / "drawn" / "drawn", ".png", ".npz", ".html")
    stages = cascades.open_stages(configs, names)
    labels = cascades.labels_for(stages[0], _STYLE.value, len(prompts))
    typed = "--caption" if negative is None else "--caption, --negative"
    print(f"drawing {len(labels)} images through {len(stages)} stages …", flush=True)
    prior, seed = embeddings.open_prior(cascade, stages[0]), _SEED.value
    embedding = None if prior is None else embeddings.from_captions(prior, seed, labels, prompts, negative, typed)
    images = cascades.draw(stages, seed, labels, prompts, negative, embedding, typed)
    texts = [prompt.text for prompt in prompts]
    title = f"{stages[-1].run.dataset.name}{'' if _STYLE.value is None else f', {_STYLE.value} style'}"
    figure = Figure(
        drawing.captioned(f"{out}.png", images, texts, title), "The stages side by side, above the caption."
    )
    facts = {"images": len(labels), "seed": seed, "prior": _PRIOR.value, "negative caption": negative}
    arrays = {"x": images[-1], "caption": np.asarray(texts)} | {f"stage_{i}": x for i, x in enumerate(images[:-1])}
    return drawing.write(
        out, title, config, [*([] if prior is None else [prior.stage]), *stages], figure, facts, **arrays
    )


if __name__ == "__main__":
    command_line.run(main, lambda: cascades.first_config(_STAGES.value), diffusion.check_fields)
