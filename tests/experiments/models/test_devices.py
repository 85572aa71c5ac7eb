"""Where the parameters of a sampler are: on every device, or split where a copy would take more than half of one."""

import jax
import numpy as np
import pytest

from experiments import tasks
from experiments.models.devices import hold, planned_on
from experiments.planning.described import describe

pytestmark = pytest.mark.skipif(len(jax.devices()) < 4, reason="needs 4 (simulated) devices")
PARAMS = {"kernel": np.ones((8, 4), np.float32)}


@pytest.mark.parametrize(
    ("memory", "fsdp", "rows"), [(2 * 128, 2, 8), (2 * 128 - 1, 2, 4), (1, 4, 2), (1, -1, 2), (1, 3, 2), (1, 1, 8)]
)
def test_parameters_are_split_where_a_copy_takes_more_than_half_of_a_device(memory, fsdp, rows):
    with planned_on(jax.devices()[:4], memory):
        placed = hold(PARAMS, fsdp)["kernel"]
    assert placed.addressable_shards[0].data.shape == (rows, 4)
    np.testing.assert_array_equal(placed, PARAMS["kernel"])


@pytest.mark.slow
def test_samples_by_split_parameters_are_those_by_full_ones():
    config = tasks.opened("experiments/configs/images/smoke.py")
    config.training.fsdp = 2
    dataset, drawn = describe(config), []
    for memory in (1e9, 1.0):
        with planned_on(jax.devices()[:4], memory):
            model = tasks.of(config).build(config, dataset)
            params = model.trained.init(jax.random.key(0))
            drawn.append(model.generate(params, 0, np.arange(8) % 10, config.sampling.guidance_scale))
    np.testing.assert_allclose(drawn[0], drawn[1], atol=1e-5)
