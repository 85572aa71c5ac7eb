"""The comparison of methods for inverse problems, at its smallest setting, in this process."""

import re

import numpy as np
import pytest
from programs import give, save_untrained

from experiments.configs.images import digits_bridge, digits_superres


@pytest.fixture
def program(load_program, capsys):
    """Runs a program with some flags and returns its output."""

    def run(name, **given):
        module = load_program(f"experiments.{name}")
        give(**given)
        module.main(None)
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_inverse_measures_a_small_error_of_the_exact_method(program):
    out = program("projects.posteriors.inverse.__main__", samples="64", steps="64", workdir="")
    found = {name: float(error) for name, error in re.findall(r"^(\S.*?)  +([\d.e-]+)  .*", out, re.MULTILINE)}
    assert found["mmps, 16 iterations"] < 0.02 < found["pigdm"]
    assert found["repaint, 10 resamples"] < found["repaint, 1 resamples"]


@pytest.mark.slow
def test_a_bridge_is_compared_with_a_conditional_model_and_with_methods_for_inverse_problems(program, tmp_path):
    runs = []
    for name, config in (("bridge", digits_bridge.get_config()), ("model", digits_superres.get_config())):
        config.network.update(channels=8, multipliers=(1,), blocks=1, attention_resolutions=())
        config.sampling.update(batch_size=10, ema="none")
        runs.append(str(save_untrained(tmp_path / name, config)))
    given = dict(table="bridge", evaluations="2", images="10", method="replacement")
    out = program("projects.posteriors.inverse.__main__", **given, workdir=runs[0], compare=runs[1])
    rows = dict(re.findall(r"^(the copy itself|bridge|conditional model|replacement) +(.*)$", out, re.MULTILINE))
    assert [*rows] == ["the copy itself", "bridge", "conditional model", "replacement"]
    psnr = {name: float(row.split()[0]) for name, row in rows.items()}
    assert all(np.isfinite(value) for value in psnr.values())
    assert psnr["the copy itself"] > psnr["conditional model"]  # which is untrained
