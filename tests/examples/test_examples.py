"""Each file of ``examples/`` takes two steps and draws samples, as it is and with batches split on an Explicit mesh."""

import contextlib
import functools
import importlib.util
import re
import textwrap
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {
    "images": {"batch_size": 8, "channels": 8},
    "one_step": {"batch_size": 8, "num_samples": 16},
    "tokens": {"batch_size": 8, "num_samples": 16},
    "posterior": {"batch_size": 8, "features": 8, "num_simulations": 64, "num_tests": 4, "num_samples": 6},
    "inverse": {"batch_size": 8, "num_samples": 16},
}
"""Arguments of ``main``, with batches for two devices."""
SHAPES = {"images": (80, 8, 8, 1), "one_step": (16, 2), "posterior": (4, 6, 2), "inverse": (16, 16)}
"""Shapes of the samples; those of tokens are lines of text."""


QUOTE = re.compile(r"from\s`examples/(\w+)\.py`[^`]*:\n\n((?:```\{code-block\} python\n.*?^```\n\n?)+)", re.M | re.S)
QUOTED_IN = {
    "images": "guidance",
    "one_step": "flow_maps",
    "tokens": "discrete",
    "posterior": "posteriors",
    "inverse": "inverse_problems",
}
"""The guide that quotes an example."""


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_a_guide_quotes_the_example_word_for_word(name):
    page = (EXAMPLES.parent / "docs" / f"{QUOTED_IN[name]}.md").read_text()
    quotes = [blocks for example, blocks in QUOTE.findall(page) if example == name]
    assert quotes
    code = (EXAMPLES / f"{name}.py").read_text()
    for lines in re.findall(r"python\n(.*?)^```", "".join(quotes), re.M | re.S):
        assert textwrap.indent(lines, "    ") in code


@functools.cache
def load(name):
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(name, folder, steps=2):
    if name == "inverse":
        pytest.importorskip("equinox")
    folder = {"folder": folder} if name == "images" else {}
    return load(name).main(steps=steps, **SMALL[name], **folder)


def mesh_of_two():
    if len(jax.devices()) < 2:
        pytest.skip("needs 2 (simulated) devices")
    return jax.set_mesh(jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,)))


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [contextlib.nullcontext, mesh_of_two], ids=["one_device", "explicit_mesh"])
@pytest.mark.parametrize("name", SMALL)
def test_two_steps_and_samples(name, mesh, tmp_path):
    with mesh():
        results = run(name, tmp_path)
    samples = results.pop("samples")
    assert all(np.isfinite(value).all() for value in results.values())
    if name == "tokens":
        assert len(samples) == 16
        assert all(len(line) <= 9 for line in samples)
    else:
        assert samples.shape == SHAPES[name]
        assert np.isfinite(samples).all()


@pytest.mark.slow
def test_images_that_were_stopped_continue_as_if_they_had_not_been(tmp_path):
    run("images", tmp_path / "stopped", steps=1)
    continued, straight = run("images", tmp_path / "stopped"), run("images", tmp_path / "straight")
    assert (tmp_path / "stopped/samples.png").stat().st_size > 0
    np.testing.assert_array_equal(continued["samples"], straight["samples"])
