"""Rewards by name, of samples ``(B, ...)`` as the network receives them, such as images in [-1, 1]:

``brightness``, the mean of all values; ``class:K``, the log-probability of class K by a small classifier;
``compressibility``, minus the bytes of zlib for the rounded example, without a gradient; ``module:function`` of the
user, ``x (B, ...) -> (B,)``, whose gradient is used where JAX can take it.
"""

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.cli import flags as shared
from experiments.cli.choices import named_object
from experiments.cli.config import ConfigError
from experiments.data.dataset import Dataset
from scorekit.typing import Array, ArrayLike


class Reward(NamedTuple):
    """``function(x)`` is the reward of each sample; ``about`` says how good the classifier of class ``label`` is."""

    name: str
    function: Callable[[Array], Array]
    about: str = ""
    label: int = -1

    def values(self, x: ArrayLike) -> np.ndarray:
        """The rewards, checked."""
        x, given, real = jnp.asarray(x), f"--reward={self.name}", (jnp.bool_, jnp.integer, jnp.floating)
        try:
            r = np.asarray(self.function(x))
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise ConfigError(f"{given}: fails for samples of shape {x.shape}: {reason}") from error
        if r.shape != x.shape[:1] or not any(jnp.issubdtype(r.dtype, kind) for kind in real):
            raise ConfigError(f"{given}: must be {len(x)} real numbers, one a sample, got {r.dtype} of shape {r.shape}")
        if not np.all(np.isfinite(r)):
            raise ConfigError(f"{given}: must be finite, got {r[~np.isfinite(r)][0]} for a sample")
        return r.astype(np.float32)

    def check(self, x: ArrayLike, method: str, needs_gradient: bool) -> np.ndarray:
        """The rewards of samples of the start, which must differ, and have a gradient where the method needs it."""
        r, given = self.values(x), f"--reward={self.name}"
        if np.ptp(r) == 0:
            raise ConfigError(f"{given}: must differ between samples, got {r[0]:g} for each of {len(r)}")
        try:
            slope = jax.grad(lambda x: jnp.sum(self.function(x)))(jnp.asarray(x)) if needs_gradient else jnp.ones(1)
        except Exception:  # whatever JAX says of a function that it cannot differentiate
            slope = jnp.zeros(1)
        if not jnp.any(slope) or not jnp.all(jnp.isfinite(slope)):
            raise ConfigError(f"{given}: has no gradient, which --method={method} needs; use nft, weighted or policy")
        return r


def named(name: str, dataset: Dataset, seed: int) -> Reward:
    """The reward of the flag ``--reward``; the classifier of ``class:K`` is trained."""
    if name == "brightness":
        return Reward(name, lambda x: jnp.mean(jnp.clip(x, -1.0, 1.0), axis=tuple(range(1, x.ndim))))
    if name == "compressibility":
        return Reward(name, lambda x: -_size(dataset.from_model(x)))
    if name.startswith("class:"):
        try:
            k = shared.classes("reward", [name[6:]], dataset.num_classes, dataset.class_names)[0]
        except ConfigError as error:
            raise ConfigError(str(error).replace("--reward=", "--reward=class:", 1)) from None
        logits, about = _train(jax.random.key(seed), dataset)
        return Reward(name, lambda x: jax.nn.log_softmax(logits(x))[:, k], about, k)
    try:
        return Reward(name, named_object(name))
    except Exception as error:  # whatever a module of the user raises
        allowed = "brightness, class:K, compressibility or module:function"
        raise ConfigError(f"--reward={name}: must be {allowed} ({error})") from error


def _size(x: Array) -> Array:
    """The bytes of each example by zlib, of values in [-1, 1] in 256 steps."""
    sizes = lambda x: np.array([len(zlib.compress(row.tobytes(), 9)) for row in np.asarray(x)], np.float32)
    codes = jnp.round(127.5 * (jnp.clip(x, -1.0, 1.0) + 1.0)).astype(jnp.uint8)
    return jax.pure_callback(sizes, jax.ShapeDtypeStruct(x.shape[:1], jnp.float32), codes)


def _train(key, dataset: Dataset) -> tuple[Callable[[Array], Array], str]:
    """The logits of a classifier of examples with a noise of 0.2, and its accuracy on held-out ones in words."""
    x, label = dataset.inputs(dataset.train), jnp.asarray(dataset.train["label"])
    layers = [nn.Dense(256), nn.silu, nn.Dense(128), nn.silu, nn.Dense(dataset.num_classes)]
    module: Any = nn.Sequential([lambda x: x.reshape(len(x), -1), *layers])
    params, optimizer = module.init(key, x[:1]), optax.adam(1e-3)

    def step(carry, key):
        rows = jax.random.randint(key, (128,), 0, len(x))
        logits = lambda params: module.apply(params, x[rows] + 0.2 * jax.random.normal(key, x[rows].shape))
        entropy = optax.softmax_cross_entropy_with_integer_labels
        slope = jax.grad(lambda params: jnp.mean(entropy(logits(params), label[rows])))(carry[0])
        updates, state = optimizer.update(slope, carry[1])
        return (optax.apply_updates(carry[0], updates), state), None

    params = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, 1000))[0][0]
    guess = np.argmax(module.apply(params, dataset.inputs(dataset.test)), axis=-1)
    about = f"(its classifier: accuracy {np.mean(guess == dataset.test['label']):.3f} on held-out data)"
    return lambda x: module.apply(params, x), about
