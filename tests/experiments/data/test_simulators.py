"""Tables of parameters and observations: simulators, bounds, priors, sets, sequences, and what is wrong with them."""

import re
import sys
import warnings
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.data.vectors import simulators
from experiments.data.vectors.priors import Prior, support
from experiments.data.vectors.simulators import Simulations
from experiments.data.vectors.tables import Elements, Sequence, Table
from scorekit import densities

RNG = np.random.default_rng(0)
PRIOR = densities.uniform([-2.0, 0.0], [2.0, 5.0])


def prior():
    return PRIOR


def cubes(key, theta):
    """Sets of up to three elements, of which the mask says how many."""
    x = theta[:, None, :1] + jax.random.normal(key, (len(theta), 3, 2))
    return x, jnp.arange(3) < jax.random.randint(key, (len(theta), 1), 1, 4)


def load(**arguments):
    return Simulations(**{"simulator": "two_moons", "simulations": 200, **arguments})


def table(tmp_path, theta, x, **arguments):
    np.savez(tmp_path / "t.npz", theta=theta, x=x)
    return Table(path=str(tmp_path / "t.npz"), condition="x", **arguments)


OWN = {"simulator": f"{__name__}:cubes", "prior": f"{__name__}:prior"}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))


def test_bounded_parameters_are_unconstrained_and_come_back():
    dataset = load(validation=0.2)
    assert (dataset.examples, len(dataset.test["x"]), dataset.entries) == (160, 40, ("theta_1", "theta_2"))
    np.testing.assert_allclose(dataset.train["x"].std(0), 1, atol=1e-5)
    theta = np.asarray(dataset.real(dataset.train))
    assert np.abs(theta).max() < 1
    np.testing.assert_allclose(dataset.as_batch(theta)["x"], dataset.train["x"], atol=1e-3)
    above, below = (dataset.statistics.standardise(theta[:9].astype(float) + step) for step in (1e-6, -1e-6))
    slopes = (above - below) / 2e-6  # of each column by itself
    np.testing.assert_allclose(dataset.log_det(theta[:9]), np.log(slopes).sum(1), rtol=1e-4, atol=1e-4)


def test_a_simulator_of_ones_own_draws_sets_with_masks():
    dataset = load(**OWN)
    assert (dataset.statistics.lower.tolist(), dataset.statistics.upper.tolist()) == ([-2, 0], [2, 5])
    tokens = Elements()
    present = np.asarray(tokens.present(dataset.batch(0, 0, 50)))
    assert present.shape == (50, 3)
    assert set(present.sum(1)) == {1, 2, 3}
    rows = np.asarray(tokens(dataset.train))[dataset.train["present"]]
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(rows.std(0), 1, atol=1e-5)


def test_sequences_are_maps(tmp_path):
    x = RNG.normal(size=(60, 7, 2)) * [1, 100] + 5
    sequences = np.asarray(Sequence()(table(tmp_path, RNG.normal(size=(60, 3)), x).train))
    assert sequences.shape == (54, 7, 2)
    np.testing.assert_allclose(sequences.reshape(-1, 2).std(0), 1, atol=1e-5)


class Distribution(NamedTuple):
    """As NumPyro's, of independent scalars."""

    support: SimpleNamespace

    def sample(self, key, shape):
        return jnp.ones(shape)

    def log_prob(self, x):
        return jnp.where(x > self.support.base_constraint.lower_bound, -x, -jnp.inf)


def test_priors_are_any_objects_with_samples_and_densities():
    limits = SimpleNamespace(lower_bound=0.5, upper_bound=np.inf)
    given = Prior(Distribution(SimpleNamespace(base_constraint=limits)))
    assert [bound.tolist() for bound in support(given, 2)] == [[0.5, 0.5], [np.inf, np.inf]]
    assert given.sample(jax.random.key(0), 4).shape == (4, 1)
    assert given.log_prob(jnp.array([[1.0, 2.0], [0.0, 1.0]])).tolist() == [-3.0, -np.inf]
    assert Prior(PRIOR).log_prob(jnp.array([[0.0, 1.0]])).tolist() == [pytest.approx(-np.log(20), rel=1e-6)]


def test_observations_outside_the_training_range_are_warned_of_with_their_distance():
    dataset = load()
    high = dataset.statistics.highest + np.array([0, 3]) * dataset.statistics.scale
    with pytest.warns(UserWarning, match=r"observation 2: entry 2 of x is 3 standard deviations outside the range"):
        dataset.observed({"x": np.stack([0 * high, high])})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset.observed({"x": np.zeros((1, 2))})
    with pytest.raises(ValueError, match=r"observation must have 2 columns of x, got shape \(1, 3\)"):
        dataset.observed({"x": np.zeros((1, 3))})
    columns = {"x_1": np.array(["0.1", "0.2"]), "x_2": np.array(["3e-1", "0"])}  # as CSV has them
    given = [dataset.observed(each)["condition"] for each in (columns, {"x": [[0.1, 0.3], [0.2, 0]]})]
    np.testing.assert_array_equal(*given)
    with pytest.raises(ValueError, match="observation must have the columns x or x_1, x_2, it has no x"):
        dataset.observed({"x_0": [1.0], "x_1": [2.0]})
    for x in (0.5, np.zeros((0, 2))):
        with pytest.raises(ValueError, match="observation must have one or more rows, as many in each column, got"):
            dataset.observed({"x": x})
    assert len(dataset.observed({"x": np.zeros((1, 2)), "another": np.zeros(5)})["condition"]) == 1


@pytest.mark.parametrize("theta", [(0.999, 0.999), (-0.999, -0.999), (0.0, 0.0)])
def test_exact_samples_near_the_corners_of_the_prior_are_as_many_as_were_asked_for(theta):
    moons = simulators.two_moons()
    x = moons.simulate(jax.random.key(0), jnp.array([theta]))
    drawn = moons.posterior(jax.random.key(1), x, 500)
    assert drawn.shape == (500, 2)
    assert jnp.abs(drawn).max() <= 1
    with pytest.raises(ValueError, match="observations must be possible, but none of 100 rounds"):
        moons.posterior(jax.random.key(1), jnp.full((1, 2), 9.0), 5)


LINE, SAME = np.linspace(-3, 3, 40), np.full((40, 2), 9.0)
ONE = {"x": LINE, "theta": LINE}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({**ONE, "x": SAME}, "in all training rows must be left out, got x_1, x_2"),
        (
            {**ONE, "theta": SAME, "prior": OWN["prior"]},
            "row 1: must lie in the support of the prior, which has log",
        ),
        ({**ONE, "prior": "math:pi"}, "data.prior=math:pi: must be an object with"),
        ({**ONE, "prior": "nowhere:p"}, "must be module:name of a module on the path"),
        ({"simulator": "moons"}, "data.simulator=moons: must be one of gaussian_linear, two_moons, or module:function"),
        ({"prior": OWN["prior"]}, f"data.prior={OWN['prior']}: must be set for a simulator of your own alone"),
        ({"simulator": OWN["simulator"]}, "data.prior=None: must be set for a simulator of your own alone"),
        ({**OWN, "simulator": "nowhere:p"}, "data.simulator=nowhere:p: must be module:name of a module on the path"),
    ],
)
def test_what_is_wrong_with_parameters_or_their_prior_is_one_sentence(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=f"^.*{re.escape(words)}.*$"):
        table(tmp_path, **arguments) if "theta" in arguments else load(**arguments)


@pytest.mark.parametrize("name", ["two_moons", "gaussian_linear"])
def test_exact_posteriors_are_those_of_the_simulator(name):
    """Conjugate Gaussians; of the moons the radius of the crescent that each parameter implies, and both sides."""
    made = simulators.SIMULATORS[name]()
    keys = jax.random.split(jax.random.key(0), 3)
    x = made.simulate(keys[1], made.prior.sample(keys[0], (5,)))
    if name == "gaussian_linear":
        drawn = made.posterior(keys[2], x[:5], 4000)
        precision = 6 / 0.1
        np.testing.assert_allclose(drawn.mean(0), x[:5].sum(0) / 6, atol=0.01)
        np.testing.assert_allclose(drawn.std(0), precision**-0.5, rtol=0.05)
        return
    drawn = made.posterior(keys[2], x[:1], 4000)
    assert len(drawn) == 4000
    radius = np.linalg.norm(x[0] - simulators._rotated(drawn) - jnp.array([0.25, 0.0]), axis=-1)
    np.testing.assert_allclose([radius.mean(), radius.std()], [0.1, 0.01], rtol=0.05)
    assert 0.1 < np.mean(np.asarray(drawn.sum(-1)) > 0) < 0.9
