"""How much of each attack is tried: by default what fits among the slow tests."""

import jax.numpy as jnp
import optax
import pytest

from scorekit import training


def pytest_addoption(parser):
    group = parser.getgroup("attacks on programs, for tests/robustness")
    group.addoption("--thorough", action="store_true", help="every attack, which takes about an hour on two cores")
    group.addoption("--fuzz", type=int, default=60, help="number of configs at random")
    group.addoption("--kills", type=int, default=2, help="number of signals at random moments")
    group.addoption("--seed", type=int, default=4, help="seed of every random choice")


def option(name, default):
    """A fixture with the value of an option; the default where this file was not there when pytest began."""
    return pytest.fixture(lambda request: request.config.getoption(name, default), name=name)


fuzz, kills, seed = option("fuzz", 60), option("kills", 2), option("seed", 4)


@pytest.fixture
def is_thorough(request):
    return request.config.getoption("thorough", False)


@pytest.fixture
def thorough(is_thorough):
    if not is_thorough:
        pytest.skip("takes minutes: pytest -m slow tests/robustness --thorough")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with the checkpoints of two steps."""
    folder = tmp_path_factory.mktemp("run")
    params = {"kernel": jnp.arange(12.0).reshape(3, 4)}
    with training.Checkpoints(folder / "checkpoints") as checkpoints:
        for step in (1, 2):
            state = training.init_state(jnp.array([0, 1], jnp.uint32), params, optax.sgd(0.1), ())
            checkpoints.save(step, state)
            checkpoints.wait()
    return folder
