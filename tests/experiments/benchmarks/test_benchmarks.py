"""Every benchmark at its smallest setting, in this process."""

import importlib
import re

import numpy as np
import pytest
from picture_runs import transformer
from programs import give, save_untrained, succeeds

from experiments.cli.config import save_resolved
from experiments.configs.images import digits, digits_bridge, digits_superres


@pytest.fixture
def program(load_program, capsys):
    """Runs a benchmark with some flags and returns its output."""

    def run(name, **given):
        module = load_program(f"experiments.{name}")
        give(**given)
        module.main(None)
        return capsys.readouterr().out

    return run


@pytest.mark.slow
def test_quality_ranks_solvers_and_saves_a_plot(program, tmp_path):
    out = program(
        "benchmarks.quality.__main__",
        problems="ring",
        solvers="DDIM,AB3 flow,DDPM",
        grids="VP t^2",
        nfe="20",
        samples="16",
        workdir=str(tmp_path),
    )
    rows = re.findall(r"^(.*) \[VP t\^2\] +(.*) \|", out, re.MULTILINE)
    errors = {solver: [float(cell) for cell in cells.split()] for solver, cells in rows}
    assert errors["AB3 flow"][0] < 0.5 * errors["DDIM"][0]
    (line,) = re.findall(r"^rank at NFE 20 \(factor over the best cell\): (.*)$", out, re.MULTILINE)
    ranks = [re.sub(r" \[.*", "", pair) for pair in line.split(", ")]
    assert set(ranks[:2]) == {"recommended", "AB3 flow"}
    assert ranks[2:] == ["DDIM"]
    assert "sliced Wasserstein distance" in out
    assert out.splitlines()[-1] == f"plot: {tmp_path / 'quality.png'}"
    assert (tmp_path / "quality.png").stat().st_size > 1000


@pytest.mark.slow
def test_objectives_of_score_matching_agree_and_energies_are_conservative(load_program, capsys, tmp_path, monkeypatch):
    """Means within error of the truth; the noise of few examples; antisymmetry of an energy at rounding."""
    ring = importlib.import_module("experiments.benchmarks.score_matching.ring")
    monkeypatch.setattr(ring, "RUNS", {name: ring.RUNS[name] for name in ("score, sliced", "energy, FD-DSM")})
    module = load_program("experiments.benchmarks.score_matching.__main__")
    monkeypatch.setattr(module, "DIMS", (2,))
    monkeypatch.setattr(module, "TIMED", [2])
    give(num="2000", steps="200", seeds="1", turns="1", out=str(tmp_path))
    module.main(None)
    biases = re.findall(r"\(([+-]\d\.\d)\)", out := capsys.readouterr().out)
    assert (len(biases), max(abs(float(z)) for z in biases) < 4) == (12, True)
    rows = {row.split("  ")[0]: re.findall(r"(-?[\d.e-]+) ±", row) for row in out.splitlines() if "±" in row}
    curl, distance = (float(rows["energy, FD-DSM"][i]) for i in (0, 6))  # after three correlations
    assert distance < 0.3
    assert curl < 1e-5 < 1e-3 < float(rows["score, sliced"][0])
    assert (tmp_path / "objectives.png").stat().st_size > 1000


@pytest.mark.slow
def test_cost_agrees_with_the_reference_samplers_and_saves_a_plot(program, tmp_path):
    out = program(
        "benchmarks.cost.__main__",
        solvers="AB3 flow",
        detailed="",
        steps="2",
        batches="4",
        large="4",
        turns="1",
        first="1",
        unet="0",
        workdir=str(tmp_path),
    )
    assert re.findall(r"^(\S+(?: \S+)*)  .* s\) ", out, re.MULTILINE) == ["AB3 flow"]
    assert out.splitlines()[-1] == f"plot: {tmp_path / 'cost.png'}"
    assert (tmp_path / "cost.png").stat().st_size > 1000


@pytest.mark.slow
def test_memory_counts_every_block_of_a_scan_and_its_recomputation(program):
    sizes = dict(depth="2", width="64", side="8", batch="16")
    out = program("benchmarks.cost.__main__", table="memory", networks="DiT", switches="none,remat,unrolled", **sizes)
    rows = re.findall(r"^(\S+) +[\d.]+ +([\d.]+) +([\d.]+)$", out, re.MULTILINE)
    memory, flops = ({name: float(row[i]) for name, *row in rows} for i in (0, 1))
    assert set(flops) == {"none", "remat", "unrolled"}
    assert flops["unrolled"] == flops["none"]
    assert 1.2 * flops["none"] < flops["remat"] < 1.34 * flops["none"]
    assert memory["remat"] < 0.8 * memory["none"]


@pytest.mark.slow
def test_likelihood_matches_the_exact_density_and_saves_a_plot(program, tmp_path):
    sizes = dict(points="20", turns="1", tolerances="1e-3,1e-5", tangents="6")
    out = program("benchmarks.likelihood", **sizes, out=str(tmp_path / "likelihood.png"))
    rows = re.findall(r"^(\S.*?) +(1e-0\d) +\d+ +([\d.e-]+) +(-?[\d.e-]+) +\S", out, re.MULTILINE)
    solvers = {"scorekit", "scorekit, whole"}
    assert {solver for solver, *_ in rows} == solvers
    assert len(rows) == 2 * 2 * len(solvers)
    for solver, tolerance, error, bias in rows:
        assert float(error) < {"1e-03": 0.5, "1e-05": 0.01}[tolerance], (solver, tolerance)
        assert abs(float(bias)) <= 1.1 * float(error)
    assert out.splitlines()[-1] == f"saved {tmp_path / 'likelihood.png'}"
    assert (tmp_path / "likelihood.png").stat().st_size > 1000


@pytest.mark.slow
def test_tuning_reduces_the_error_on_test_draws(program, tmp_path):
    out = program(
        "benchmarks.quality.__main__",
        table="tuning",
        problems="ring",
        solvers="AB2",
        nfe="6",
        samples="1024",
        steps="40",
        starts="1",
        out=str(tmp_path / "tuning.png"),
    )
    untuned, grid, coefficients = map(float, re.search(r"^AB2 +(\S+) +(\S+) +(\S+)", out, re.MULTILINE).groups())
    assert coefficients < grid < untuned
    assert (tmp_path / "tuning.png").stat().st_size > 1000


@pytest.mark.slow
def test_guidance_compares_the_rules_and_does_not_recompile(program, tmp_path):
    out = program("benchmarks.guidance.__main__", fast="1", workdir=str(tmp_path))
    rows = re.findall(r"^(\S.*?) +(\d+)((?: +-?[\d.]+){7})$", out, re.MULTILINE)
    metrics = {(rule, int(scale)): [float(cell) for cell in cells.split()] for rule, scale, cells in rows}
    np.testing.assert_allclose(metrics["CFG", 4], metrics["classifier", 4], rtol=0.1, atol=0.05)  # both exact
    counts = re.findall(r"^(\S.*?) +([1-9]) +(\d)$", out[out.index("recompilation") :], re.MULTILINE)
    assert len(counts) > 10
    assert all(new == "0" for _, _, new in counts)
    assert (tmp_path / "mixture.png").stat().st_size > 1000


@pytest.mark.slow
def test_inverse_measures_a_small_error_of_the_exact_method(program):
    out = program("projects.posteriors.inverse.__main__", samples="64", steps="64", workdir="")
    found = {name: float(error) for name, error in re.findall(r"^(\S.*?)  +([\d.e-]+)  .*", out, re.MULTILINE)}
    assert found["mmps, 16 iterations"] < 0.02 < found["pigdm"]
    assert found["repaint, 10 resamples"] < found["repaint, 1 resamples"]


@pytest.mark.slow
def test_the_tabulated_sampler_is_compared_with_the_usual_ones(program):
    chosen = ("DDIM, flow", "Adams 2 of v, flow")
    given = dict(table="few_steps", problems="four_modes_1d", nfe="5,8", samples="16")
    out = program("benchmarks.quality.__main__", **given, solvers=f'"{chosen[0]}","{chosen[1]}"')
    rows = re.findall(r"^(\S.*?)  +([\d.e-]+) +([\d.e-]+)$", out, re.MULTILINE)
    errors = {name: [float(five), float(eight)] for name, five, eight in rows}  # of the 90th percentile
    assert {*chosen, "recommended", "tabulated"} <= {*errors}
    best = np.min([errors[name] for name in chosen], axis=0)
    np.testing.assert_allclose(errors["best strategy / tabulated"], best / errors["tabulated"], rtol=0.1)
    assert errors["tabulated"][1] < errors["tabulated"][0] < errors["DDIM, flow"][0]


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


@pytest.mark.slow
def test_every_band_has_a_line(tmp_path):
    config = transformer(digits.get_config("band"))
    config.training.update(steps=2, warmup_steps=1)
    config.data.test_split = "test[:50]"
    save_resolved(config, tmp_path / "config.json")
    flags = [f"--config={tmp_path}/config.json", "--seeds=1", "--edges=0.3"]
    out = succeeds("benchmarks.band_weighting", *flags)
    assert len([line for line in out.splitlines() if line.startswith("band f")]) == 2
