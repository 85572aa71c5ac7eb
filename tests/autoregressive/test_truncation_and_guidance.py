"""Changes of conditionals against loops over sorted codes; guided conditionals against counted sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scorekit import autoregressive as ar
from scorekit.guidance.sequences import guide_joint, guide_sequentially, joint_log_prob, total_variation

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.full(7, 0.6), size=20).astype(np.float32)
P[:, 3] = 0.0
P /= P.sum(1, keepdims=True)


def smallest_set(p, order, mass):
    """One code after the other until the mass is reached."""
    kept, total = [], 0.0
    for code in sorted(range(len(p)), key=lambda code: order[code]):
        kept.append(code)
        total += p[code]
        if total >= mass:
            return set(kept)
    return set(kept)


def test_truncated_conditionals_keep_the_sets_of_their_definitions():
    with np.errstate(divide="ignore"):
        logits, information = jnp.log(P) + 3.0, -np.log(P.astype(np.float64))
    run = jax.jit(lambda x: (ar.top_k(x, 2), ar.nucleus(x, 0.8), ar.typical(x, 0.8), ar.temperature(x, 0.5)))
    k_most, most, nearest, cold = (np.asarray(found) for found in run(logits))
    for i, p in enumerate(P):
        entropy = sum(a * b for a, b in zip(p, information[i], strict=True) if a > 0)
        kept = lambda found, i=i: set(np.flatnonzero(np.isfinite(found[i])).tolist())
        assert kept(k_most) == set(np.argsort(-p)[:2].tolist())
        assert kept(most) == smallest_set(p, -p, 0.8)
        assert kept(nearest) == smallest_set(p, np.abs(information[i] - entropy), 0.8)
        np.testing.assert_array_equal(most[i][np.isfinite(most[i])], logits[i][np.isfinite(most[i])])
        np.testing.assert_allclose(jax.nn.softmax(cold[i]), p**2 / (p**2).sum(), rtol=1e-4, atol=1e-6)


def test_truncation_does_not_leave_out_what_is_not_a_number():
    for rule in (lambda x: ar.top_k(x, 1), lambda x: ar.nucleus(x, 0.5), lambda x: ar.typical(x, 0.5)):
        logits = jax.jit(rule)(jnp.array([[1.0, jnp.nan, 0.0], [1.0, 3.0, 0.0]]))
        assert jax.jit(ar.Categorical(num_codes=3).sample)(jax.random.key(0), logits)[0] == -1


def test_typical_sampling_may_leave_out_the_most_probable():
    logits = jnp.log(jnp.array([0.4, 0.15, 0.15, 0.15, 0.15]))
    typical, nucleus = jax.jit(lambda x: (ar.typical(x, 0.5), ar.nucleus(x, 0.4)))(logits)
    assert np.isfinite(typical).tolist() == [False, True, True, True, True]
    assert np.isfinite(nucleus).tolist() == [True, False, False, False, False]


def chain(seed, v=3):
    rng = np.random.default_rng(seed)
    return ar.markov_chain(jnp.asarray(rng.normal(size=v)), jnp.asarray(1.5 * rng.normal(size=(v, v))))


def test_guided_chains_are_the_counted_guided_conditionals_and_not_the_joint():
    """The total variation to the joint is 0 at scales 0 and 1, and in between and beyond it is not."""

    @jax.jit
    def run(cond, uncond, scale):
        tables = [ar.log_prob_table(model, 4) for model in (cond, uncond)]
        found = ar.log_prob_table(ar.classifier_free(cond, uncond, scale), 4)
        sequential, joint = guide_sequentially(*tables, scale).log_prob, guide_joint(*tables, scale).log_prob
        return found, sequential, total_variation(found, joint)

    first, then = chain(1).initial, chain(1).transitions
    logits = [first, then, jnp.broadcast_to(then, (3, 3, 3)), jnp.broadcast_to(then, (3, 3, 3, 3))]
    np.testing.assert_allclose(ar.log_prob_table(chain(1), 4), joint_log_prob(logits), rtol=1e-5)
    variation = {}
    for scale in (0.0, 0.5, 1.0, 3.0):
        found, sequential, variation[scale] = run(chain(1), chain(2), scale)
        np.testing.assert_allclose(jnp.exp(found), jnp.exp(sequential), atol=1e-6)
    assert variation[0.0] < 1e-5
    assert variation[1.0] < 1e-5
    assert 0.01 < variation[0.5] < variation[3.0]


@pytest.mark.slow
def test_samples_of_a_guided_chain_have_the_counted_probabilities():
    model = ar.classifier_free(chain(1), chain(2), jnp.full(20_000, 2.0))
    expected = jnp.exp(ar.log_prob_table(ar.classifier_free(chain(1), chain(2), 2.0), 3)).ravel()
    run = jax.jit(ar.sample, static_argnums=(2, 3))
    x = np.asarray(run(jax.random.key(0), model, 20_000, 3))
    counts = np.bincount(np.ravel_multi_index(tuple(x.T), (3, 3, 3)), minlength=27) / len(x)
    assert 0.5 * np.abs(counts - expected).sum() < 0.03


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ar.top_k(jnp.zeros(3), 4), "k must be at most the number of codes, 3, got 4"),
        (lambda: ar.classifier_free(ar.ar_process([0.1]), chain(0), 1.0), "cond must be a model of codes"),
        (lambda: ar.classifier_free(chain(0, 2), chain(0), 1.0), "cond must have the 3 codes of uncond, got 2"),
    ],
)
def test_changes_of_conditionals_validate(call, message):
    with pytest.raises(ValueError, match=message):
        call()
