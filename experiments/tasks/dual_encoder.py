"""Two encoders, of pictures and of captions, into one space, as CLIP: each finds the other in a batch.

The encoder of text is frozen, and a linear map of its vector is trained with the encoder of pictures. A picture's
caption is drawn anew from its own in each step. Pictures of one subject, such as an emoji in two styles, are no
negatives of each other: the caption of the one describes the other too.
"""

import jax
import numpy as np

from experiments import data
from experiments.data import captions
from experiments.data.dataset import evenly, rows_of
from experiments.models import contrastive
from experiments.models.contrastive import Encoder
from experiments.models.loss import held_out_loss
from experiments.reporting.run_report import Findings
from experiments.reporting.tables import metrics_table
from experiments.tasks import task
from experiments.tasks.task import Asked, Model
from experiments.training import loop
from experiments.training.loop import Fit

FIELDS = task.fields(
    "dual_encoder",
    data.FIELDS.but("embeddings", "latents", "map", "peak", "tokens", vector=captions.POOLED, image_size=32),
    seed="Of the parameters and the batches.",
    **contrastive.FIELDS,
)
OPENED_BY = "has embeddings and draws nothing; name the run of a model"
load, drawn_by, check_continues = data.load, task.draws_nothing, loop.check_same_run


def fields(config=None):
    return FIELDS


def check(config):
    data.check(config)
    contrastive.check(config)
    contrastive.check_batch(config)


def build(config, dataset):
    model = contrastive.build(config, dataset)
    return Model(config, model, "dual_encoder", lambda key: contrastive.init_params(model, key))


def stages(config, dataset, model, workdir):
    prepare, ema = contrastive.make_prepare(model.built), config.evaluation.ema
    axes = ("data", "fsdp") if config.training.parallel == "jit" else ("data",)
    loss, params = contrastive.make_loss(model.built, axes), model.init(jax.random.key(config.seed))
    held_out = held_out_loss(prepare, contrastive.make_loss(model.built), dataset)
    return (yield Fit(config, workdir, dataset, params, prepare, loss, ema, held_out))


def open_run(config, workdir, step=None, scales=None):
    check(config)
    dataset = load(config)
    return task.opened(config, build(config, dataset), dataset, workdir, step)


def evaluate(config, run, workdir, asked: Asked):
    """Retrieval on the test set, and on as many training pictures."""
    dataset, test = run.dataset, run.dataset.test
    encoder = Encoder(config, run.model.module, run.params, dataset.shape[0])
    few = rows_of(dataset.train, evenly(len(dataset.train["x"]), len(test["x"])))
    found = {}
    for name, part in (("training data", few), ("held-out data", test)):
        pictures = encoder.embed_pictures(np.asarray(dataset.to_model(part["x"])))
        found[name] = contrastive.retrieval(pictures, encoder.embed_captions(part["caption_pooled"]), part["subject"])
    about = f"Recall among {len(test['x'])} pairs, of which those of the same subject are right."
    return Findings(found, [metrics_table(found, about)], heading="Retrieval", title="embeddings")
