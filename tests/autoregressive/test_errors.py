"""Autoregressive models name arguments with which the law of the sequences would be another one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from errors import raising

from scorekit import autoregressive as ar
from scorekit.networks import CausalWaveNet
from scorekit.networks.flows import AutoregressiveFlow

KEY, LENGTH = jax.random.key(0), 4
EVERY, X = np.array(list(itertools.product(range(3), repeat=LENGTH))), jnp.zeros((1, LENGTH, 1))
CHAIN, TWO = ar.markov_chain(np.zeros(3), np.zeros((3, 3))), ar.markov_chain(np.zeros(2), np.zeros((2, 2)))
BEYOND = np.array([[2**32 + 1]])
PROCESS, MIXTURE = ar.ar_process([0.5]), ar.LogisticMixture(components=3, bins=16)
FLOW = AutoregressiveFlow(channels=8, depth=2, cycle=2, parallel="sampling")


def labelled():
    network = CausalWaveNet(outputs=3, num_codes=3, num_classes=2, channels=4, layers=1, cycle=1)
    params = jax.jit(network.init)(KEY, jnp.zeros((1, 2), int))
    return ar.model_from_network(network, params, ar.Categorical(num_codes=3), labels=jnp.array([0, 1]))


def joint(model):
    return ar.sample_joint(KEY, model, 2, 3)


def decided(**options):
    return ar.minimum_bayes_risk(EVERY, EVERY, **options)


test_errors_name_the_argument = raising(
    [
        ("outputs must", lambda: ar.Categorical(num_codes=3).log_prob(np.zeros((2, 4)), np.zeros(2, int))),
        ("x must", lambda: ar.Normal().log_prob(np.zeros((2, 2)), np.zeros((2, 2)))),
        ("x must", lambda: MIXTURE.log_prob(np.zeros((1, 9)), np.full((1, 1), 0.05))),
        ("x must", lambda: MIXTURE.log_prob(np.zeros((1, 9)), np.full((1, 1), 1.0 + 2 / 15))),
        ("k must", lambda: ar.top_k(jnp.zeros(3), 4)),
        ("cond must", lambda: ar.classifier_free(PROCESS, CHAIN, 1.0)),
        ("cond must", lambda: ar.classifier_free(TWO, CHAIN, 1.0)),
        ("coefficients must", lambda: ar.ar_process([0.5, 0.6])),
        ("transitions must", lambda: ar.markov_chain(np.zeros(2), np.zeros((2, 3)))),
        ("x must", lambda: ar.log_prob(PROCESS, np.zeros((2, 3)))),
        ("model must", lambda: ar.log_prob_table(PROCESS, 2)),
        ("length must", lambda: ar.log_prob_table(CHAIN, 10**9)),
        ("prefix must", lambda: ar.sample(KEY, PROCESS, 2, 3, prefix=np.zeros((2, 4, 1)))),
        ("x must hold integers that fit in int32", lambda: ar.log_prob(CHAIN, BEYOND)),
        ("x must hold", lambda: ar.bits_per_sample(CHAIN, BEYOND)),
        ("prefix must hold", lambda: ar.sample(KEY, CHAIN, 1, 3, prefix=BEYOND)),
        ("samples must hold", lambda: ar.hamming_agreement(np.zeros((1, 1), int), BEYOND)),
        ("transform must", lambda: ar.sample(KEY, CHAIN, 1, 3, transform=lambda logits: jnp.tile(logits, 2))),
        ("width must", lambda: ar.beam_search(CHAIN, 99, 2**40)),
        ("network must", lambda: ar.model_from_network(CausalWaveNet(), {}, ar.LogisticMixture())),
        ("model must", lambda: joint(CHAIN)),
        ("model must", lambda: joint(ar.classifier_free(CHAIN, CHAIN, jnp.ones(8)))),
        ("model must", lambda: joint(ar.classifier_free(labelled(), labelled(), 2.0))),
        ("width must", lambda: ar.beam_search(CHAIN, LENGTH, 82)),
        ("model must", lambda: ar.beam_search(PROCESS, LENGTH, 2)),
        ("utility must", lambda: decided(utility=lambda c, x: jnp.zeros(81))),
        ("utility must", lambda: decided(utility=lambda c, x: jnp.full((81, 81), jnp.nan))),
        ("log_weights must", lambda: decided(log_weights=np.zeros(3))),
        ("log_weights must", lambda: decided(log_weights=np.full(81, -np.inf))),
        ("candidates and samples must", lambda: ar.hamming_agreement(EVERY, EVERY[:, :2])),
        ("teacher must", lambda: ar.density_distillation_loss(CHAIN, X, X, X)),
        ("log_scale", lambda: ar.density_distillation_loss(PROCESS, X, X, X[:, :2])),
        ("scales", lambda: jax.eval_shape(lambda: FLOW.init(KEY, X, method="scales"))),
    ]
)
