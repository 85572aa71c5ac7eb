"""No flag that names results, in any program, makes it write over a run or into its checkpoints."""

import re
import shutil

import pytest
from programs import fails, succeeds

CONFIGS = "experiments/configs"


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def digits(digits_run, tmp_path):
    return shutil.copytree(digits_run, tmp_path / "run")


@pytest.mark.parametrize(
    "command",
    [
        "export --workdir=RUN --out=RUN",
        "sample --workdir=RUN --out=RUN/checkpoints/6/x",
        "evaluate --workdir=RUN --out=RUN/config",
        "tune --workdir=RUN --out=RUN/config.json",
        f"train --config={CONFIGS}/distil.py:RUN,progressive --workdir=RUN",
        f"train --config={CONFIGS}/distil.py:RUN,progressive --workdir=RUN/../link",
        f"train --config={CONFIGS}/distil.py:RUN,progressive --workdir=RUN/../copy",
        f"train --config={CONFIGS}/distil.py:RUN,progressive --workdir=RUN/checkpoints",
        f"train --config={CONFIGS}/images/smoke.py --workdir=RUN/checkpoints",
        f"train --config={CONFIGS}/images/smoke.py --workdir=RUN/../own",
        f"train --config={CONFIGS}/latents/digits_latent.py --workdir=RUN/../own",
        "export --workdir=RUN --out=RUN/checkpoints/6/weights",
        "benchmarks.few_steps --workdir=RUN --out=RUN",
        "benchmarks.guidance --workdir=RUN",
    ],
)
def test_what_is_there_stays(digits, tmp_path, command):
    own = tmp_path / "own"
    own.mkdir()
    (own / "report.html").write_text("mine")
    (tmp_path / "link").symlink_to(digits)
    shutil.copytree(digits, tmp_path / "copy")
    before = contents(tmp_path)
    program, *arguments = command.replace("RUN", str(digits)).split()
    error = fails(program, *arguments, *[] if program == "train" else ["--overwrite"], at_once=False)
    line = error.splitlines()[-1]
    assert re.match(r"error: --(out|workdir)=.*(kept|alone writes (into )?it|the teacher)", line)
    assert contents(tmp_path) == before


@pytest.mark.slow
def test_an_export_is_replaced_with_overwrite(ring_run, tmp_path):
    export = ("export", f"--workdir={ring_run}", f"--out={tmp_path / 'weights'}")
    succeeds(*export)
    words = f"{tmp_path}/weights/README.md exists; replace it with --overwrite, or use another path"
    assert words in fails(*export, "--ema=none")
    succeeds(*export, "--ema=none", "--overwrite")
    assert "| average | none |" in (tmp_path / "weights" / "README.md").read_text()
