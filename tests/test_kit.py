"""What is released was checked, and no step of the checks is left out or fails unseen."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import scorekit

ROOT = Path(__file__).parent.parent
STEPS = re.findall(r"^    (\w+)\)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_workflow_runs_every_step_once():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert sorted(STEPS) == sorted(" ".join(job["strategy"]["matrix"]["steps"]).split())


def test_a_release_has_its_version_and_date_everywhere(tmp_path):
    check = lambda tag: subprocess.run(
        [sys.executable, tmp_path / ".ci" / "check_release.py", tag], capture_output=True, text=True
    )
    for name in (".ci/check_release.py", "scorekit/_version.py", "CITATION.cff", "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    changelog, version = tmp_path / "CHANGELOG.md", scorekit.__version__
    text = re.sub(r"## .*", f"## {version} (2026-01-31)", changelog.read_text(), count=1)
    changelog.write_text(text)
    assert check(f"v{version}").returncode == 0
    assert f"the tag must be v{version}" in check("v9.9.9").stderr
    changelog.write_text(text.replace("(2026-01-31)", "(unreleased)"))
    assert "(year-month-day)', got" in check(f"v{version}").stderr
    changelog.write_text(f"\n## {version} (2026-01-31)\n\n## 0.0.1\n- older\n")
    assert "has no entries" in check(f"v{version}").stderr
    (tmp_path / "CITATION.cff").write_text("version: 9.9.9\n")
    assert "CITATION.cff must say" in check(f"v{version}").stderr


def test_nothing_is_published_that_was_not_checked():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    commands = [step.get("run", "") for step in jobs["build"]["steps"]]
    assert any("check_release.py" in command for command in commands)
    assert any("twine check --strict dist" in command for command in commands)
    for steps in re.findall(r"\.ci/run ([\w ]+)", "\n".join(commands)):
        assert set(steps.split()) <= set(STEPS)
    assert (jobs["publish"]["needs"], jobs["site"]["needs"]) == ("build", "publish")
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert [name for name, job in jobs.items() if "environment" in job] == ["publish"]


@pytest.mark.parametrize("broken", ["", "ruff", "pyright"])
def test_the_checks_end_with_the_status_of_their_steps(tmp_path, broken):
    """Steps of a copy of the script, whose tools do nothing else."""
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "pip", "ruff", "pyright"):
        (tools / name).write_text(f"#!/bin/bash\nexit {int(name == broken)}\n")
        (tools / name).chmod(0o755)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    ran = subprocess.run(["bash", ".ci/run", "lint", "types"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == bool(broken), ran.stdout + ran.stderr
