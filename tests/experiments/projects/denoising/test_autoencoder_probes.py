"""``experiments.projects.denoising.autoencoder``: the runs that it probes, and its errors."""

import shutil

import pytest
from programs import fails, succeeds


@pytest.mark.slow
def test_a_run_is_probed_and_compared_with_other_runs(digits_run, ring_run, tmp_path):
    workdir, other = (shutil.copytree(digits_run, tmp_path / name) for name in ("run", "other"))
    flags = [f"--workdir={workdir}", "--levels=4", "--examples=200"]
    out = succeeds("projects.denoising.autoencoder", *flags, f"--compare={other}")
    report = workdir / "autoencoder" / "report.html"
    assert str(report) in out.splitlines()[-1]
    assert report.read_text().count("<img") == 1
    rows = {line.split("  ")[0]: line.split()[-4:] for line in out.splitlines()}
    assert {"this run", "untrained network", "other", "pixels alone"} <= set(rows)
    assert rows["this run"] == rows["other"]
    assert float(rows["pixels alone"][2]) > 0.8  # of 297 scans by a ridge regression, at log-SNR 4
    words = f"--compare={ring_run}: its data must be sklearn_digits, they are"
    assert words in fails("projects.denoising.autoencoder", *flags, f"--compare={ring_run}", at_once=False)
