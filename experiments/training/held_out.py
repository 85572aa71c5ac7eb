"""The held-out loss of a network in training."""

import functools

import jax

from experiments.data.dataset import Dataset, rows_of
from experiments.models.devices import collect, everywhere, spread


def held_out_loss(prepare, loss, dataset: Dataset, limit: int | None = None):
    """``params -> loss`` on up to ``limit`` (``dataset.max_held_out`` by default) test examples, always with the same
    noise and times, which are read by the first call; ``prepare`` and ``loss`` are the functions of training."""
    # prepared is an argument: as a constant XLA would compute with it
    run = jax.jit(lambda params, prepared: collect(loss(params, spread(prepared))[0]).mean())

    @functools.cache
    def prepared():
        few = rows_of(dataset.test, slice(dataset.max_held_out if limit is None else limit))
        return jax.jit(prepare)(jax.random.key(0), few)

    return lambda params: float(run(everywhere(params), prepared()))
