"""Images from the embeddings of images: variations of one, interpolations between two, and edits by captions.

    python -m experiments.projects.text.variations --stages=runs/decoder,runs/emoji_32 --image=cat.png --num=8
    python -m experiments.projects.text.variations --stages=runs/decoder --image=cat.png --image=dog.png --between=5
    python -m experiments.projects.text.variations --stages=runs/decoder --image=house.png --before="a house by day" \
        --after="a house at night" --weights=0,0.25,0.5

The first stage is a decoder; the encoder of its run embeds the images. Interpolations between two images are on the arc
between their embeddings. An edit moves an embedding towards the difference of the embeddings of two captions. Images of
one seed start from the same noise.

Writes an image, a row for each embedding with ``--num`` images of it, ``.html`` with it and the config of the
decoder, and ``.npz`` (``x`` of the last stage ``(M, num, H, W, C)``, ``embedding`` ``(M, D)``, ``caption``) into the
folder ``variations`` of the last stage.
"""

from pathlib import Path

import numpy as np
from absl import flags

from experiments.cli import command_line
from experiments.cli import flags as shared
from experiments.cli.config import Config, ConfigError
from experiments.projects.text import drawing, embeddings
from experiments.projects.text import stages as cascades
from experiments.projects.text.stages import Embedded
from experiments.reporting.grids import grid
from experiments.reporting.report import Figure
from experiments.tasks.contrastive.embeddings import encoder_of
from experiments.tasks.diffusion import task as diffusion

_STAGES = flags.DEFINE_list("stages", None, "Folders of the runs, the decoder first.", required=True)
_IMAGE = flags.DEFINE_multi_string("image", [], "A file with an image; twice for --between.")
_BETWEEN = shared.count("between", 5, "Embeddings from the first of two images to the second, both included.", 2)
_BEFORE = flags.DEFINE_string("before", None, "A caption of the image as it is.")
_AFTER = flags.DEFINE_string("after", None, "A caption of the edited image.")
_WEIGHTS = flags.DEFINE_list("weights", ["0", "0.25", "0.5"], "Weights of the edit by captions, from 0 to 1.")
_NUM, _SEED = shared.count("num", 4, "Images of each embedding."), shared.seed("Seed of all noise.")
_OUT = shared.out("Path of the results without ending; in the last run by default.")
shared.reinterpret_weights()


def check_given(paths: list[str]) -> tuple[list[str], list[float]]:
    """Validates what to draw; returns the two captions of an edit, or none, and its weights."""
    for flag, used in ((_BETWEEN, len(paths) == 2), (_WEIGHTS, _BEFORE.value is not None or _AFTER.value is not None)):
        if flag.present and not used:
            goes_with = "two --image" if flag is _BETWEEN else "--before and --after"
            raise ConfigError(f"--{flag.name}: must be left out, it goes with {goes_with}")
    if not 1 <= len(paths) <= 2:
        raise ConfigError(f"--image: must be given once, or twice to interpolate, got {len(paths)}")
    texts = [text.strip() for text in (_BEFORE.value, _AFTER.value) if text is not None]
    if texts and (len(texts) != 2 or len(paths) > 1):
        raise ConfigError("--before and --after: must be given together, with one --image")
    if texts and (texts[0] == texts[1] or not all(texts)):
        raise ConfigError(f"--after={_AFTER.value}: must be another caption than --before, and neither empty")
    weights = shared.guidance_scales("weights", _WEIGHTS.value)
    if max(weights) > 1:
        raise ConfigError(f"--weights={','.join(_WEIGHTS.value)}: must be from 0 to 1")
    return texts, weights


def main(config: Config) -> str:
    paths = list(_IMAGE.value)
    edit, weights = check_given(paths)
    configs, names, *_ = cascade = cascades.saved_cascade(config, _STAGES.value)
    embeddings.check_decoder(config, names[0])
    cascades.check(cascade, embedded=True)
    folder = Path(names[-1]).expanduser().absolute() / "variations"
    out = shared.results(_OUT, folder / "variations", ".png", ".npz", ".html")
    encoder = encoder_of(config, names[0])
    stages = cascades.open_stages(configs, names)
    mode = "L" if cascades.images_of(stages[0]).shape[2] == 1 else "RGB"
    vectors = encoder.embed_pictures(embeddings.read_images(paths, encoder.image_size, mode))
    texts = [f"variations of {Path(path).name}" for path in paths]
    if len(paths) == 2:
        vectors = embeddings.between(vectors, _BETWEEN.value)
        texts = [f"{i / (len(vectors) - 1):.2f} of the way" for i in range(len(vectors))]
    elif edit:
        vectors = embeddings.edited(vectors[0], encoder.embed_texts(edit, "--before, --after"), weights)
        texts = [f"{edit[0]} → {edit[1]}, {weight:g}" for weight in weights]
    labels, seed = cascades.labels_for(stages[0], None, _NUM.value), _SEED.value
    print(f"drawing {len(vectors)} x {len(labels)} images through {len(stages)} stages …", flush=True)
    from_one = lambda one: Embedded([np.tile(one, (len(labels), 1))])
    x = np.stack([cascades.draw(stages, seed, labels, [], None, from_one(one))[-1] for one in vectors])
    title = f"{stages[-1].run.dataset.name}, from embeddings"
    figure = Figure(grid(f"{out}.png", x, texts, title=title, side=128), "Each row is of one embedding.")
    facts = {"images": " and ".join(paths), "seed": seed}
    arrays = {"x": x, "embedding": vectors, "caption": np.asarray(texts)}
    return drawing.write(out, title, config, stages, figure, facts, **arrays)


if __name__ == "__main__":
    command_line.run(main, lambda: cascades.first_config(_STAGES.value), diffusion.check_fields)
