"""Guidance of the joint by particles, against a joint that is counted out."""

import jax
import numpy as np
import pytest
from random_sequences import CLASSES, V, log_probs, make_run

from experiments.projects.ood import joint
from scorekit.guidance import sequences


@pytest.mark.slow
def test_draws_have_the_integral_and_the_frequencies_of_the_counted_joint():
    run = make_run()
    cond, *_, uncond = log_probs(run)
    integral = jax.nn.logsumexp(3.0 * cond - 2.0 * uncond)
    found = joint.make_draw(run, 64)(3.0, 400, 0)
    of_class = np.arange(400) % CLASSES == 0
    np.testing.assert_allclose(np.exp(found.log_normalizer[of_class] - integral).mean(), 1, atol=0.05)
    first = np.exp(sequences.guide_joint(cond, uncond, 3.0).log_prob).sum((1, 2))
    np.testing.assert_allclose(np.bincount(found.x[of_class][:, 0], minlength=V) / 200, first, atol=0.12)
    table = joint.joint_table(run, [0.5, 1.0], [1, 64], 100, temperature=True)
    assert [row[1] for row in table.rows] == [None, 1, 64, 1]  # conditionals and joint are the same at 1
