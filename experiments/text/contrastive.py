"""Trains two encoders, of pictures and of captions, into one space, as CLIP: each finds the other in a batch.

    python -m experiments.text.contrastive --config=experiments/configs/text/contrastive.py --workdir=runs/contrastive
    python -m experiments.text.contrastive --config=experiments/configs/text/contrastive.py --workdir=runs/evaluator \
        --config.seed=1 --config.dual_encoder.channels=24

The encoder of text is frozen, and a linear map of its vector is trained with the encoder of pictures. A picture's
caption is drawn anew from its own in each step. Pictures of one subject, such as an emoji in two styles, are no
negatives of each other: the caption of the one describes the other too.

The same command continues a run that was stopped. ``workdir`` then holds ``report.html``, ``config.json``,
``evaluation.json`` (recall on the test set and on as many training pictures), metrics and ``checkpoints/``.
"""

import time
from pathlib import Path

import jax
import numpy as np

from experiments import data, training
from experiments.cli import command_line, distributed, progress
from experiments.cli import flags as shared
from experiments.cli.config import Config
from experiments.configs import base_contrastive
from experiments.data.dataset import evenly, rows_of
from experiments.models import contrastive
from experiments.models.contrastive import DualEncoders, Encoder
from experiments.models.devices import everywhere
from experiments.models.loss import held_out_loss
from experiments.models.restoring import averaged
from experiments.models.runs import write_results
from experiments.models.sizes import COPIES, param_shapes
from experiments.reporting.pictures import training_sections
from experiments.reporting.report import ConfigSection, Heading, Section, tables_as_text, write_report
from experiments.reporting.tables import metrics_table
from experiments.training import lock, loop

_CONFIG, _WORKDIR = shared.config("Config file of contrastive encoders."), shared.new_workdir()
shared.distributed()


def check(config: Config, workdir: Path) -> None:
    """Validates a config before anything is loaded or compiled."""
    base_contrastive.check_fields(config)
    data.check(config)
    contrastive.check(config)
    contrastive.check_batch(config)
    training.check(config)
    training.check_devices(config)
    loop.check_same_run(config, workdir)


def train(config: Config, workdir: Path, built: DualEncoders) -> Encoder:
    """Trains to the last step."""
    prepare = contrastive.make_prepare(built)
    axes = ("data", "fsdp") if config.training.parallel == "jit" else ("data",)
    state = loop.fit(
        config,
        workdir,
        built.dataset,
        params=contrastive.init_params(built, jax.random.key(config.seed)),
        prepare=prepare,
        loss=contrastive.make_loss(built, axes),
        ema=config.evaluation.ema,
        held_out=held_out_loss(prepare, contrastive.make_loss(built), built.dataset),
    )
    params = jax.device_get(everywhere(averaged(state, config.evaluation.ema)))  # the first process goes on alone
    return Encoder(config, built.module, params, built.dataset.shape[0])


def recall(encoder: Encoder, built: DualEncoders) -> dict[str, dict[str, float]]:
    """Retrieval on the test set, and on as many training pictures."""
    test = built.dataset.test
    few = rows_of(built.dataset.train, evenly(len(built.dataset.train["x"]), len(test["x"])))
    found = {}
    for name, part in (("training data", few), ("held-out data", test)):
        pictures = encoder.embed_pictures(np.asarray(built.dataset.to_model(part["x"])))
        found[name] = contrastive.retrieval(pictures, encoder.embed_captions(part["caption_pooled"]), part["subject"])
    return found


def main(config: Config) -> None:
    start = time.monotonic()
    workdir = shared.path(_WORKDIR)
    check(config, workdir)
    with lock.hold(workdir):
        built = contrastive.build(config, data.load(config))
        param_shapes(config, "dual_encoder", lambda: contrastive.init_params(built, jax.random.key(0)), copies=COPIES)
        encoder = train(config, workdir, built)
        trained = time.monotonic() - start
        if not distributed.is_first():
            return
        found = recall(encoder, built)
        write_results(workdir / "evaluation.json", found)
        about = f"Recall among {len(built.dataset.test['x'])} pairs, of which those of the same subject are right."
        table = metrics_table(found, about)
        sections: list[Section] = [Heading("Retrieval"), table, *training_sections(workdir)]
        sections.append(ConfigSection((workdir / "config.json").read_text()))
        facts = {
            "data": built.dataset.name,
            "steps": config.training.steps,
            "training time": progress.duration(trained),
        }
        report = write_report(workdir / "report.html", f"scorekit: {built.dataset.name}, embeddings", facts, sections)
        print(tables_as_text([table]))
        print(progress.final_line(str(report), time.monotonic() - start))


if __name__ == "__main__":
    command_line.run(main, lambda: _CONFIG.value, base_contrastive.check_fields)
