"""Limits of fine-tuning against sums over a grid, and the table at its smallest."""

import jax.numpy as jnp
import numpy as np
import pytest
from programs import give

from experiments.projects.alignment import laws


@pytest.mark.parametrize("reward", laws.REWARDS)
def test_tilted_law_and_limit_of_nft_against_a_sum_over_a_grid(reward):
    p, t, x_t = laws.problem(2, reward, 0.7), 0.4, jnp.array([[0.3, -0.2], [-0.9, 0.8]])
    line = np.arange(-4, 4, 0.02)
    x = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    alpha, sigma = float(laws.SCHEDULE.alpha(t)), float(laws.SCHEDULE.sigma(t))
    log_p, w = np.asarray(p.data.log_density(jnp.asarray(x))), np.exp(np.asarray(p.reward(x)) / 0.7)
    np.testing.assert_allclose(np.exp(p.tilted.log_density(jnp.asarray(x))).sum() * 0.02**2, 1.0, rtol=1e-3)
    limit, tilted = laws.nft_limit(p)(x_t, jnp.full(2, t)), laws.velocity(p.tilted)(x_t, t)
    for i, at in enumerate(np.asarray(x_t)):
        eps = (at - alpha * x) / sigma
        posterior = np.exp(log_p - 0.5 * np.sum(eps**2, 1))
        v, posterior = alpha * eps - sigma * x, posterior / posterior.sum()
        mean, moment = posterior @ v, (posterior * w) @ v
        np.testing.assert_allclose(tilted[i], moment / (posterior @ w), atol=2e-3)
        np.testing.assert_allclose(limit[i], mean + 2 * (moment - (posterior @ w) * mean), atol=2e-3)


def test_the_energy_test_has_its_level_and_sees_a_shift():
    x = np.random.default_rng(0).normal(size=(2, 300, 2))
    assert laws.energy_test(*x)[1] > 0.05
    assert laws.energy_test(x[0], x[1] + 0.5)[1] < 0.01


@pytest.mark.slow
def test_every_method_has_a_row(load_program, capsys, tmp_path):
    module = load_program("experiments.projects.alignment.mixtures")
    named = ["nft", "adjoint_half", "steered", "best_of"]
    give(law="2", reward="quadratic", method=",".join(named), steps=8, path=3, samples=32, out=tmp_path / "table")
    module.main(None)
    out = capsys.readouterr().out
    assert [line.split()[2] for line in out.splitlines() if line.startswith("2 ")] == named
    assert (tmp_path / "table" / "table.txt").read_text().strip() == out.strip()
    assert (tmp_path / "table" / "quadratic_2.png").stat().st_size > 1000
