"""Autoregressive models: a Markov chain of two codes, a process of order 1, and conditionals without a network."""

# pyright: reportArgumentType=false

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.faults.calls import Call, Classes, Data, call
from scorekit import autoregressive, schedules
from scorekit.networks import CausalWaveNet

_KEY = jax.random.key(0)
_CHAIN = autoregressive.markov_chain(np.zeros(2, np.float32), np.zeros((2, 2), np.float32))
_PROCESS = autoregressive.ar_process([0.5])
_CODES = Classes(np.array([[0, 1], [1, 1]]), num_classes=2)
_VALUES = Data(np.ones((2, 3, 1), np.float32))
_LOGITS = Data(np.zeros((2, 3), np.float32), {"shape": "any leading axes, and one code", "empty": "no logits"})
_TABLE = Data(np.zeros(2, np.float32), {"integer": "becomes float32"}, alias="transitions")
_OUTPUTS = Data(np.zeros((2, 2), np.float32), {"integer": "becomes float32"})
_ONE_VALUE = Data(np.zeros((2, 1), np.float32), {"integer": "becomes float32"}, alias="outputs")
_NETWORK = CausalWaveNet(outputs=2, channels=2, layers=1, cycle=1)
_MODEL = autoregressive.model_from_network(_NETWORK, {}, autoregressive.Normal())


def _kept(rule, **given):
    return call(lambda logits, **given: jax.nn.softmax(rule(logits, **given)), logits=_LOGITS, **given)


ROWS: dict[str, Call] = {
    "autoregressive.Categorical/log_prob": call(
        lambda outputs, x: autoregressive.Categorical(num_codes=2).log_prob(outputs, x),
        outputs=_OUTPUTS,
        x=Classes(np.array([0, 1]), num_classes=2),
    ),
    "autoregressive.Categorical/sample": call(
        lambda outputs: autoregressive.Categorical(num_codes=3).sample(_KEY, outputs),
        outputs=dataclasses.replace(_LOGITS, documented={**_LOGITS.documented, "integer": "becomes float32"}),
    ),
    "autoregressive.Normal/log_prob": call(
        lambda outputs, x: autoregressive.Normal().log_prob(outputs, x), outputs=_OUTPUTS, x=_ONE_VALUE
    ),
    "autoregressive.LogisticMixture/log_prob": call(
        lambda outputs, x: autoregressive.LogisticMixture(components=1, bins=3).log_prob(outputs, x),
        outputs=Data(np.zeros((2, 3), np.float32), {"integer": "becomes float32"}),
        x=_ONE_VALUE,
    ),
    "autoregressive.ar_process": call(
        autoregressive.ar_process,
        coefficients=Data(np.array([0.5, 0.1], np.float32), {"integer": "one only, not stationary"}),
    ),
    "autoregressive.markov_chain": call(
        autoregressive.markov_chain,
        initial=_TABLE,
        transitions=Data(np.zeros((2, 2), np.float32), {"integer": "becomes float32"}),
    ),
    "autoregressive.log_prob_table": call(autoregressive.log_prob_table, model=_CHAIN, length=2),
    "autoregressive.log_prob": call(autoregressive.log_prob, model=_CHAIN, x=_CODES),
    "autoregressive.log_prob/values": call(autoregressive.log_prob, model=_PROCESS, x=_VALUES),
    "autoregressive.position_log_probs": call(autoregressive.position_log_probs, model=_CHAIN, x=_CODES),
    "autoregressive.bits_per_sample": call(autoregressive.bits_per_sample, model=_CHAIN, x=_CODES),
    "autoregressive.classifier_free": call(
        lambda guidance_scale: autoregressive.classifier_free(_CHAIN, _CHAIN, guidance_scale).outputs(
            jnp.zeros((1, 2), int)
        ),
        guidance_scale=2.0,
    ),
    "autoregressive.sample_joint": call(
        lambda **given: autoregressive.sample_joint(**given).x,
        key=_KEY,
        model=autoregressive.classifier_free(_CHAIN, _CHAIN, 2.0),
        particles=2,
        length=3,
    ),
    "autoregressive.sample": call(autoregressive.sample, key=_KEY, model=_CHAIN, batch=2, length=3),
    "autoregressive.sample/prefix": call(
        autoregressive.sample, key=_KEY, model=_CHAIN, batch=2, length=3, prefix=_CODES
    ),
    "autoregressive.temperature": call(autoregressive.temperature, logits=_LOGITS, temperature=0.5),
    "autoregressive.top_k": _kept(autoregressive.top_k, k=1),
    "autoregressive.nucleus": _kept(autoregressive.nucleus, mass=0.5),
    "autoregressive.typical": _kept(autoregressive.typical, mass=0.5),
    "autoregressive.condition_on_noise": call(
        lambda scale: autoregressive.condition_on_noise(_MODEL, schedules.cosine(), scale)(0.5).conditions,
        scale=0.25,
    ),
    "autoregressive.smoothed_log_density": call(
        lambda x: autoregressive.smoothed_log_density(lambda t: _PROCESS)(x, 0.5), x=_VALUES
    ),
    "autoregressive.smoothed_loss": call(
        autoregressive.smoothed_loss, key=_KEY, model_at=lambda t: _PROCESS, schedule=schedules.cosine(), x0=_VALUES
    ),
}

EXEMPT: dict[str, str] = {
    "autoregressive.ARProcess": "made by ar_process",
    "autoregressive.Conditional": "a protocol",
    "autoregressive.GaussianSequence": "made by gaussian_sequence",
    "autoregressive.GuidedModel": "made by classifier_free",
    "autoregressive.MarkovChain": "made by markov_chain",
    "autoregressive.NetworkModel": "made by model_from_network",
    "autoregressive.SequenceModel": "a protocol",
    "autoregressive.gaussian_sequence": "takes a Gaussian, which its factory checks",
    "autoregressive.model_from_network": "takes a network and its conditions, which the network checks",
}
