"""Rewards by name, of samples ``(B, ...)`` as the network receives them, such as images in [-1, 1]:

``brightness``, the mean of all values; ``class:K``, the log-probability of class K by a small classifier;
``compressibility``, minus the bytes that zlib needs for the rounded example, without a gradient; and
``module:function`` of the user, ``x (B, ...) -> (B,)``, whose gradient is used where JAX can take it.
"""

import zlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli import flags as shared
from experiments.cli.choices import named_object
from experiments.cli.config import Config, ConfigError
from experiments.data.dataset import Dataset
from experiments.tasks.classifier.model import open_logits
from scorekit.typing import Array


class Reward(NamedTuple):
    """``reward(x)`` is the reward of each sample; ``about`` says in words how good its classifier is."""

    name: str
    function: Callable[[Array], Array]
    about: str = ""

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    def values(self, x: Array) -> np.ndarray:
        """The rewards, checked."""
        given = f"--reward={self.name}"
        try:
            r = np.asarray(self(x))
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ConfigError(f"{given}: fails for samples of shape {x.shape}: {reason}") from error
        if r.shape != x.shape[:1] or r.dtype.kind not in "fiub" and r.dtype != jnp.bfloat16:
            raise ConfigError(f"{given}: must be {len(x)} real numbers, one a sample, got {r.dtype} of shape {r.shape}")
        if not np.all(np.isfinite(r)):
            raise ConfigError(f"{given}: must be finite, got {r[~np.isfinite(r)][0]} for a sample")
        return r.astype(np.float32)

    def check(self, x: Array, method: str, needs_gradient: bool) -> np.ndarray:
        """The rewards of samples of the start, which must differ, and have a gradient if the method needs it."""
        r, given = self.values(x), f"--reward={self.name}"
        if np.ptp(r) == 0:
            raise ConfigError(f"{given}: must differ between samples, got {r[0]:g} for each of {len(r)}")
        if needs_gradient:
            try:
                slope = np.asarray(jax.grad(lambda x: jnp.sum(self(x)))(x))
            except Exception:  # whatever JAX says of a function that it cannot differentiate
                slope = np.zeros(1)
            if not np.any(slope) or not np.all(np.isfinite(slope)):
                raise ConfigError(f"{given}: has no gradient, which --method={method} needs; use nft, weighted, policy")
        return r


def named(name: str, config: Config, dataset: Dataset, classifier: str | None, last: float, seed: int) -> Reward:
    """The reward of a name.

    Args:
      name: the flag ``--reward``.
      config, dataset: of the run that is fine-tuned.
      classifier: run of a classifier for ``class:K``; None trains a small one.
      last: the time without noise, at which that classifier is evaluated.
      seed: seed of the small one.
    """
    kind, _, which = name.partition(":")
    if classifier is not None and kind != "class":
        raise ConfigError(f"--classifier={classifier}: must be left out with --reward={name}, it would do nothing")
    if name == "brightness":
        return Reward(name, lambda x: jnp.mean(jnp.clip(x, -1.0, 1.0), axis=tuple(range(1, x.ndim))))
    if name == "compressibility":
        return Reward(name, lambda x: -_size(dataset.from_model(x)))
    if kind == "class":
        try:
            k = shared.classes("reward", [which], dataset.num_classes, dataset.class_names)[0]
        except ConfigError as error:
            raise ConfigError(str(error).replace("--reward=", "--reward=class:")) from error
        if classifier is None:
            logits, about = _train(jax.random.key(seed), dataset)
        else:
            chosen = SimpleNamespace(workdir=classifier, step=None)
            try:
                noisy, about = open_logits(config, chosen), f"{classifier}"
            except ConfigError as error:
                raise ConfigError(str(error).replace("config.rules.classifier.workdir", "--classifier")) from error
            logits = lambda x: noisy(x, jnp.full(len(x), last))
        return Reward(name, lambda x: jax.nn.log_softmax(logits(x))[:, k], about)
    try:
        return Reward(name, named_object(name))
    except (ImportError, AttributeError, ValueError) as error:
        allowed = "brightness, class:K, compressibility or module:function"
        raise ConfigError(f"--reward={name}: must be {allowed} ({error})") from error


def _size(x: Array) -> Array:
    """The bytes of each example by zlib, of values in [-1, 1] in 256 steps."""
    sizes = lambda x: np.array([len(zlib.compress(row.tobytes(), 9)) for row in np.asarray(x)], np.float32)
    codes = jnp.round(127.5 * (jnp.clip(x, -1.0, 1.0) + 1.0)).astype(jnp.uint8)
    return jax.pure_callback(sizes, jax.ShapeDtypeStruct(x.shape[:1], jnp.float32), codes)


class _Network(nn.Module):
    num_classes: int

    @nn.compact
    def __call__(self, x):
        for features, stride in ((16, 1), (32, 2)) if x.ndim > 2 else ():
            x = nn.silu(nn.Conv(features, (3,) * (x.ndim - 2), stride)(x))
        return nn.Dense(self.num_classes)(nn.silu(nn.Dense(128)(x.reshape(len(x), -1))))


def _train(key, dataset: Dataset, steps: int = 500) -> tuple[Callable[[Array], Array], str]:
    """The logits of a classifier of examples with a noise of 0.2, and its accuracy on held-out ones in words."""
    x, label = dataset.inputs(dataset.train), jnp.asarray(dataset.train["label"])
    module, optimizer = _Network(dataset.num_classes), optax.adam(2e-3)
    params = module.init(key, x[:1])

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (128,), 0, len(x))
        noisy = x[rows] + 0.2 * jax.random.normal(key, x[rows].shape)
        entropy = optax.softmax_cross_entropy_with_integer_labels
        loss = lambda params: jnp.mean(entropy(module.apply(params, noisy), label[rows]))
        updates, state = optimizer.update(jax.grad(loss)(params), state)
        return (optax.apply_updates(params, updates), state), None

    run = jax.jit(lambda params, keys: jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0])
    params = run(params, jax.random.split(key, steps))
    guess = np.argmax(module.apply(params, dataset.inputs(dataset.test)), axis=-1)
    about = f"trained here, accuracy {np.mean(guess == dataset.test['label']):.3f} on held-out data"
    return lambda x: module.apply(params, x), about
