"""The adversarial term of distribution matching: its fields, its discriminator, and its losses."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from experiments.cli.config import Config, require
from experiments.cli.fields import FRACTION, NON_NEGATIVE, POSITIVE, Field, Section, Text
from experiments.tasks.diffusion.model import Model, own_variables
from scorekit import flow_maps, networks
from scorekit import times as time_samplers
from scorekit.arguments import Between, Count, Each, OneOf
from scorekit.flow_maps import AdversarialForm
from scorekit.io.preconditioning import precondition
from scorekit.predictions import seen_log_snr
from scorekit.process import perturb
from scorekit.times import Times
from scorekit.trees import expand, sum_per_example
from scorekit.typing import Array, Key, Network, PyTree

Batch: TypeAlias = Mapping[str, Any]


FIELDS = Section(
    weight=Field(None, POSITIVE, "Of the adversarial term in the student's loss; None trains no discriminator."),
    balanced=Field(False, bool, """
        Whether the weight multiplies the length of the gradient of matching, for each sample, in place of the
        term's."""),
    form=Field("softplus", OneOf(*get_args(AdversarialForm)), 'The losses: "softplus" (non-saturating) or "hinge".'),
    penalty=Field(0.01, NON_NEGATIVE, """
        Of the squared gradient of the logits of data with respect to the features (R1); 0 for none."""),
    features=Field("teacher", OneOf("teacher", "fake"), """
        Whose features are discriminated: of the "teacher", fixed, or of the "fake" network, which is trained too."""),
    shared=Field(0.01, FRACTION, """
        With the features of the fake network: the share of the discriminator's gradient that reaches that network."""),
    layers=Field(None, Each(Text("names of layers")), """
        Names of layers of the network; None is the last of those with the fewest positions."""),
    channels=Field(32, Count(1, 2**16), "Width of the head on each layer."),
    depth=Field(1, Count(0, 100), "Hidden layers of each head."),
    t_min=Field(0.02, Between(0, 1, "high"), "The least noise that data and samples are discriminated at."),
    t_max=Field(0.7, Between(0, 1, "low"), "The most noise."),
    rate=Field(1.0, POSITIVE, "The learning rate of the discriminator over that of the fake network."),
)  # fmt: skip
"""The section ``distillation.adversarial``."""


def check(options: Config) -> None:
    """Validates relations between fields."""
    ordered = options.t_min < options.t_max
    require(ordered, "distillation.adversarial.t_min", options.t_min, f"below t_max = {options.t_max}")


class Adversary(NamedTuple):
    """A discriminator of data and samples of a student, on layers of a denoiser.

    Attributes:
      model: model of the teacher, the student and the fake network.
      teacher: its parameters.
      head: the discriminator.
      layers: the layers that it has.
      options: the section ``distillation.adversarial``.
    """

    model: Model
    teacher: PyTree
    head: networks.FeatureDiscriminator
    layers: tuple[str, ...]
    options: Config

    def init(self, key: Key) -> PyTree:
        """The initial parameters of the head."""
        x, t = jnp.zeros((1, *self.model.shape)), jnp.ones(1)
        given = {"labels": jnp.zeros(1, jnp.int32)}

        def run(key):
            features = _features_at(self.model, self.teacher, given, self.layers)(x, t)
            return self.head.init(key, features, t, given["labels"])

        return jax.jit(run)(key)

    def prepare(self, key: Key, x: Array) -> dict[str, Any]:
        """The random draws of a batch."""
        for_real, for_fake, for_times = jax.random.split(key, 3)
        sampler = time_samplers.uniform(self.options.t_min, self.options.t_max)
        return {
            "eps_real": jax.random.normal(for_real, x.shape),
            "eps_generated": jax.random.normal(for_fake, x.shape),
            "times_adversarial": time_samplers.draw(for_times, x.shape[0], sampler, self.model.schedule),
        }

    def generator(self, params: PyTree, batch: Batch, samples: Array, matched: Callable[[Array], Array]) -> Array:
        """The loss of the student ``(B,)``: ``matched(samples)`` and the adversarial term.

        Its gradient passes through the samples alone: neither the discriminator nor the fake network gets one.
        """
        params, fixed = jax.lax.stop_gradient((params, samples))
        logits = lambda x: self._logits(params, batch, self._features(params, batch, x, batch["eps_generated"]))
        adversarial = lambda x: flow_maps.adversarial_loss(logits(x), self.options.form)
        (of_matching, value), (of_term, term) = (_gradient(loss, fixed) for loss in (matched, adversarial))
        weight = jnp.full(value.shape, self.options.weight)
        if self.options.balanced:
            weight = weight * flow_maps.balancing_weight(of_matching, of_term)
        direction = of_matching + expand(weight, of_term) * of_term
        along = sum_per_example(lambda x: x, direction * (samples - fixed))  # 0, with that gradient
        return along + jax.lax.stop_gradient(value + weight * term)

    def discriminator(self, params: PyTree, batch: Batch, samples: Array) -> tuple[Array, dict[str, Array]]:
        """The loss of the discriminator ``(B,)``, without a gradient to the samples, and its metrics."""
        real, fake = (
            _shared(self._features(params, batch, x, eps), self.options.shared)
            for x, eps in ((batch["x"], batch["eps_real"]), (jax.lax.stop_gradient(samples), batch["eps_generated"]))
        )
        on_real, on_fake = (self._logits(params, batch, features) for features in (real, fake))
        loss = flow_maps.discriminator_loss(on_real, on_fake, self.options.form)
        penalty = jnp.zeros_like(loss)
        if self.options.penalty:
            fixed = jax.lax.stop_gradient(real)
            penalty = flow_maps.gradient_penalty(functools.partial(self._logits, params, batch), fixed)
        metrics = {
            "discriminator": loss,
            "real_logit": _average(on_real),
            "fake_logit": _average(on_fake),
            "gradient_penalty": penalty,
        }
        return loss + self.options.penalty * penalty, {f"train/{name}": value for name, value in metrics.items()}

    def _features(self, params, batch, x, eps):
        """The features of noised data or samples, by layer."""
        t = Times(*batch["times_adversarial"]).t
        variables = self.teacher if self.options.features == "teacher" else params["fake"]
        read = _features_at(self.model, variables, batch["conditions"], self.layers)
        return read(perturb(x, eps, t, self.model.schedule), t)

    def _logits(self, params, batch, features):
        noise = seen_log_snr(self.model.schedule.log_snr(Times(*batch["times_adversarial"]).t)) / 4
        return self.head.apply(params["discriminator"], features, noise, batch["conditions"]["labels"])


def build(model: Model, teacher: PyTree, options: Config) -> Adversary | None:
    """The adversary of a config; None where it has none."""
    if options.weight is None:
        return None
    shapes = _layer_shapes(model, teacher)
    chosen = tuple(options.layers or ()) or (_deepest(shapes, len(model.shape)),)
    for name in chosen:
        require(name in shapes, "distillation.adversarial.layers", name, f"among {', '.join(shapes)}")
    head = networks.FeatureDiscriminator(options.channels, options.depth, model.num_classes)
    return Adversary(model, teacher, head, chosen, options)


def _features_at(model: Model, variables: PyTree, given: Mapping[str, Any], layers: tuple[str, ...]) -> Network:
    """``(x_t, t) -> {layer: output}`` inside the preconditioning of the model."""
    given = model.inputs(given)

    def read(x, noise):
        found = networks.features(model.module, own_variables(variables), x, noise, layers=layers, **given)
        return {name: jax.tree.leaves(output)[0] for name, output in found.items()}

    return precondition(read, model.preconditioning)


def _layer_shapes(model: Model, variables: PyTree) -> dict[str, tuple[int, ...]]:
    """The shapes of the outputs of the layers that are arrays of a batch, in the order in which they complete."""
    x, t, given = jnp.zeros((2, *model.shape)), jnp.ones(2), {"labels": jnp.zeros(2, jnp.int32)}
    names = networks.layer_names(model.module, {"params": variables["params"]}, x, t, given["labels"])
    found = jax.eval_shape(lambda: _features_at(model, variables, given, names)(x, t))
    return {name: output.shape for name, output in found.items() if len(output.shape) > 1 and output.shape[0] == 2}


def _deepest(shapes: Mapping[str, tuple[int, ...]], axes: int) -> str:
    """The last of the layers with the fewest positions, nested layers and the last of all left out."""
    outer = [name for name, shape in shapes.items() if "/" not in name and (axes < 2 or len(shape) > 2)][:-1]
    return min(reversed(outer), key=lambda name: math.prod(shapes[name][1:-1]))


def _gradient(loss, samples):
    """The gradient of each example's loss with respect to its sample, and the losses."""

    def total(x):
        value = loss(x)
        return jnp.sum(value), value

    return jax.grad(total, has_aux=True)(samples)


def _shared(features, share):
    """The features, of whose gradient this share reaches the network."""
    fixed = jax.lax.stop_gradient(features)
    return jax.tree.map(lambda h, same: same + share * (h - same), features, fixed)


def _average(logits):
    """Logits ``(B,)``, averaged over positions and layers."""
    each = [leaf.reshape(leaf.shape[0], -1).mean(1) for leaf in jax.tree.leaves(logits)]
    return jax.lax.stop_gradient(sum(each[1:], each[0]) / len(each))
