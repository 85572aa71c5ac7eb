"""A model of short sequences with random parameters, whose probabilities are counted out."""

import types

import jax
import jax.numpy as jnp
import numpy as np

from experiments.data.display import Scorer
from experiments.tasks.sequences.model import Sequences, conditionals
from scorekit import autoregressive as ar
from scorekit.networks import CausalWaveNet

V, LENGTH, CLASSES = 3, 3, 2


def make_run():
    """A network of random parameters with coordinates as a map; the class seen is the first code."""
    network = CausalWaveNet(outputs=V, num_codes=V, num_classes=CLASSES, map_size=LENGTH, channels=4, layers=2, cycle=2)
    positions = np.eye(LENGTH, dtype=np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, LENGTH), int))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape), s.dtype), shapes)
    measure = lambda x, labels: {"class accuracy": float(np.mean(x[:, 0] == labels)), "precision": 1.0, "recall": 0.5}
    part = lambda num: {"x": rng.integers(0, V, (num, LENGTH)), "label": np.arange(num) % CLASSES}
    scorer = lambda: Scorer({"class accuracy": 1.0, "recall": 1.0}, measure, "")
    dataset = types.SimpleNamespace(num_classes=CLASSES, name="codes", from_model=jnp.float32, scorer=scorer)
    dataset.evaluation_batch, dataset.test, dataset.train = 64, part(20), part(400)
    model = Sequences(network, V, LENGTH, CLASSES, positions, None)
    return types.SimpleNamespace(model=model, dataset=dataset, params=params)


def log_probs(run):
    """``log p(x | y)`` of every sequence, for each class and for none."""
    every = np.stack(np.unravel_index(np.arange(V**LENGTH), (V,) * LENGTH), axis=1)
    of = lambda label: ar.log_prob(conditionals(run.model, run.params, jnp.full(len(every), label)), every)
    return [of(label).reshape((V,) * LENGTH) for label in range(CLASSES + 1)]
