"""Draws pictures from captions, or classes, through a cascade: a small picture, and models that each enlarge it.

    python -m experiments.text.draw --stages=runs/emoji_16,runs/emoji_32,runs/emoji_64 --caption="red heart"
    python -m experiments.text.draw --stages=… --caption="cat face:1.5 + red heart:0.5" --negative="dog face" --num=4
    python -m experiments.text.draw --stages=… --captions_file=captions.txt --style=noto --scales=5,1,1 \
        --map_noise=0.1,0.2 --config.guidance=apg,dynamic_threshold --config.rules.dynamic_threshold.percentile=0.95
    python -m experiments.text.draw --prior=runs/prior --stages=runs/decoder,runs/emoji_32 --caption="red heart"
    python -m experiments.text.draw --stages=runs/digits_4,runs/digits_8 --labels=0,1,2,3

Every stage is a run of experiments.train; those after the first are conditioned on a smaller copy
(``config.data.map``, ``average_pool``), here the picture that the stage before has drawn. Where they were trained with
noise-conditioning augmentation (``config.loss.map_noise``), it is corrupted at the level of ``--map_noise``. A stage
that was trained on crops draws full pictures.

The first stage, or the only one, may be a model of latents: what it draws is decoded by its autoencoder.

With ``--prior`` the first stage is a decoder: the prior draws two embeddings from each caption, and the picture is
drawn from the one that is closer to the caption's.

Captions with weights are composed: ``u + sum_k w_k (c_k - u)`` takes the place of the conditional branch of every
guidance rule. A negative caption takes that of ``u``, the unconditional branch. Each caption, the negative one too, has
an embedding of its own from the prior. The colon of a weight follows a letter or a space: ``12:30`` is text. Fields
given as ``--config.…`` are those of the first stage, which decides what is drawn; the others keep what they were saved
with.

Writes a picture, the stages side by side with the caption under them, ``.html`` with it and the config of the first
stage, and ``.npz`` (``x`` of the last stage and ``stage_<i>`` of the others, ``caption``, ``label``) into the folder
``drawn`` of the last stage.
"""

import time
from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.configs import base
from experiments.models.runs import write_arrays
from experiments.reporting.captioned import captioned_grid
from experiments.reporting.report import ConfigSection, Figure, Table, credits, write_report
from experiments.text import embeddings, prompts
from experiments.text.stages import check, draw, first_config, for_full_pictures, labels_for, open_stages, saved_stage

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, smallest pictures first.", required=True)
_PRIOR = flags.DEFINE_string("prior", None, "Folder of the run of a prior; the first stage is then a decoder.")
_CAPTION = flags.DEFINE_multi_string("caption", [], "What to draw; repeated for several, weighted as a:1.5 + b:0.5.")
_FILE = flags.DEFINE_string("captions_file", None, "A text file with a caption in each line.")
_STYLE = flags.DEFINE_string("style", None, "Style of drawing, whose words are added to each caption.")
_NEGATIVE = flags.DEFINE_string("negative", None, "A caption in place of the unconditional branch of guidance.")
_LABELS = flags.DEFINE_list("labels", None, "Classes to draw, in turn; only with a model that has them.")
_NUM, _SEED = shared.count("num", 1, "Pictures of each caption or class."), shared.seed("Seed of all noise.")
_SCALES = flags.DEFINE_list("scales", None, "Guidance scale of each stage; as they were saved by default.")
_NOISE = flags.DEFINE_list("map_noise", None, "Noise on the smaller copy, of each stage after the first.")
_OUT = shared.out("Path of the results without ending; drawn/drawn in the last run by default.")
shared.reinterpret_weights()


def numbers(flag: shared.Flag, count: int) -> list[float] | None:
    """The numbers of a flag, one for each of ``count`` stages."""
    values = None if flag.value is None else shared.guidance_scales(flag.name, flag.value)
    if values is not None and len(values) != count:
        raise ConfigError(f"--{flag.name}={','.join(flag.value)}: must be {count} numbers, one for each such stage")
    return values


def typed() -> str:
    """The flags of captions that are given."""
    given = {"--caption": _CAPTION.value, "--captions_file": _FILE.value, "--negative": _NEGATIVE.value}
    return ", ".join(name for name, value in given.items() if value)


def main(config: Config) -> None:
    start = time.monotonic()
    names = [str(name) for name in _STAGES.value]
    written = prompts.read(_CAPTION.value, _FILE.value, _STYLE.value)
    if not written and _LABELS.value is None:
        raise ConfigError("--caption=… must be given, or --captions_file, or --labels for a model of classes")
    negative = None if _NEGATIVE.value is None else prompts.single(_NEGATIVE.value, "--negative")
    for flag in (_NEGATIVE, _STYLE):
        if flag.value is not None and not written and (flag is _NEGATIVE or _LABELS.value is not None):
            raise ConfigError(f"--{flag.name}={flag.value}: must be left out without --caption")
    configs = [config, *(for_full_pictures(saved_stage(name)) for name in names[1:])]
    for one, scale in zip(configs, numbers(_SCALES, len(names)) or [], strict=False):
        one.sampling.guidance_scale = scale
    for one, level in zip(configs[1:], numbers(_NOISE, len(names) - 1) or [], strict=False):
        one.sampling.map_noise = level
    prior_config = None if _PRIOR.value is None else saved_stage(_PRIOR.value, "prior")
    if prior_config is not None:
        embeddings.check_prior(prior_config, str(_PRIOR.value), configs[0], names[0], bool(written))
    check(configs, names, bool(written), prior_config is not None)
    out = shared.results(_OUT, Path(names[-1]).expanduser().absolute() / "drawn" / "drawn", ".png", ".npz", ".html")
    stages = open_stages(configs, names)
    classes = stages[0].run.dataset.num_classes
    chosen = None if _LABELS.value is None else shared.classes("labels", _LABELS.value, classes)
    repeated = [prompt for prompt in written for _ in range(_NUM.value)]
    if chosen is not None and not written:
        chosen = [label for label in chosen for _ in range(_NUM.value)]
    labels = labels_for(stages[0], chosen, _STYLE.value, len(repeated) or len(chosen or ()))
    print(f"drawing {len(labels)} pictures through {len(stages)} stages …", flush=True)
    pictures, rows, embedding = [], [], None
    if prior_config is not None:
        prior, begin = embeddings.open_prior(prior_config, str(_PRIOR.value), stages[0]), time.monotonic()
        embedding = embeddings.from_captions(prior, _SEED.value, labels, repeated, negative, typed())
        seconds, sampling = time.monotonic() - begin, prior_config.sampling
        rows.append([f"prior {prior.stage.name}", "", prior.stage.run.step, sampling.steps, sampling.guidance_scale,
                     None, seconds / len(labels)])  # fmt: skip
    each = draw(stages, _SEED.value, labels, repeated, negative, embedding, typed())
    for stage, (x, seconds) in zip(stages, each, strict=True):
        sampling = stage.config.sampling
        done = f"{x.shape[1]} x {x.shape[2]} pixels, {sampling.steps} steps, γ = {sampling.guidance_scale:g}"
        print(f"{stage.name}: {done}, noise {sampling.map_noise or 0:g}, {progress.duration(seconds)}", flush=True)
        rows.append([stage.name, f"{x.shape[1]} x {x.shape[2]}", stage.run.step, sampling.steps,
                     sampling.guidance_scale, sampling.map_noise or 0.0, seconds / len(x)])  # fmt: skip
        pictures.append(x)
    texts = [prompt.text for prompt in repeated] or [f"class {label}" for label in labels]
    earlier = {f"stage_{i}": x for i, x in enumerate(pictures[:-1])}
    write_arrays(f"{out}.npz", x=pictures[-1], caption=np.asarray(texts), label=labels, **earlier)
    title = f"{stages[-1].run.dataset.name}{'' if _STYLE.value is None else f', {_STYLE.value} style'}"
    picture = captioned_grid(f"{out}.png", pictures, texts, title=title)
    facts = {"pictures": len(labels), "seed": _SEED.value, "prior": _PRIOR.value, "negative caption": negative}
    shown = "The stages side by side, the caption under them." if pictures[1:] else "Pictures."
    sections = [Figure(picture, shown), *credits(stages[-1].run.dataset.credit), Table(
        ["stage", "pixels", "checkpoint", "steps", "γ", "noise on the copy", "s per picture"], rows,
        "Seconds include compilation.",
    ), ConfigSection(config.to_json_best_effort(indent=2))]  # fmt: skip
    write_report(f"{out}.html", f"scorekit: {title}", {k: v for k, v in facts.items() if v is not None}, sections)
    print(progress.final_line(f"{picture}, {out}.html and {out}.npz", time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: first_config(_STAGES.value), base.check_fields)
