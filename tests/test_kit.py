"""The files around the package agree with one another."""

import configparser
import importlib
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from valid_calls.networks import NETWORKS

import scorekit

ROOT = Path(__file__).parent.parent
RUN = (ROOT / ".ci" / "run").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_ruff_has_one_version():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    (wanted,) = re.findall(r"^ruff==(\S+)$", setup["options.extras_require"]["ci"], re.MULTILINE)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    found = {hook["id"]: hook["additional_dependencies"] for hook in repository["hooks"] if "ruff" in hook["id"]}
    assert found == {"ruff-check": [f"ruff=={wanted}"], "ruff-format": [f"ruff=={wanted}"]}


def test_the_workflow_runs_every_step_once():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    steps = " ".join(job["strategy"]["matrix"]["steps"]).split()
    assert sorted(re.findall(r"^step_(\w+)\(\)", RUN, re.MULTILINE)) == sorted(steps)


def test_what_the_page_for_contributors_names_exists():
    named = re.findall(r"`((?:\.ci|docs|experiments|scorekit|tests)/[\w/.]*)`", CONTRIBUTING)
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path


def test_what_the_tests_of_the_core_leave_out_exists(pytestconfig):
    tests = ROOT / "tests"
    left_out = pytestconfig.pluginmanager.get_plugin(str(tests / "conftest.py")).BEYOND_THE_CORE
    assert [path for path in left_out if not (tests / path).exists()] == []


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
        assert set(steps.split()) <= set(re.findall(r"^step_(\w+)\(\)", RUN, re.MULTILINE))
    assert (jobs["publish"]["needs"], jobs["site"]["needs"]) == ("build", "publish")
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    assert [name for name, job in jobs.items() if "environment" in job] == ["publish"]


NEWEST = (ROOT / ".ci" / "newest").read_text().split()
NOT_ON_THE_NEWEST = {"audio", "bridges", "data", "tuning"}


def test_the_newest_packages_are_tested_with_a_file_for_every_module():
    assert [path for path in NEWEST if not (ROOT / path).exists()] == []
    words = set(re.findall(r"\w+", "".join((ROOT / path).read_text() for path in NEWEST)))
    words |= {name.removeprefix("networks.") for name in NETWORKS}  # those of tests/networks/test_nnx.py
    assert "tests/networks/test_nnx.py" in NEWEST
    modules = [m.name for m in pkgutil.walk_packages(scorekit.__path__, "scorekit.") if not m.ispkg]
    modules = [name for name in modules if "._" not in name and name.split(".")[1] not in NOT_ON_THE_NEWEST]
    assert len(modules) > 150
    untested = [name for name in modules if not words & set(importlib.import_module(name).__all__)]
    assert untested == [], "add a file that tests it to .ci/newest"


def steps(folder, *names, **environment):
    """Runs steps of a copy of the script whose tools do nothing, or what a test puts there."""
    (folder / ".ci").mkdir(exist_ok=True)
    for name in ("run", "newest"):
        shutil.copy(ROOT / ".ci" / name, folder / ".ci")
    command = ["bash", ".ci/run", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment})


def tool(path, program="exit 0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{program}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("broken", ["", "ruff", "pyright"])
def test_the_checks_end_with_the_status_of_their_steps(tmp_path, broken):
    """A step of its own and one that runs alongside others."""
    for name in ("python", "pip", "ruff", "pyright"):
        tool(tmp_path / ".venv" / "bin" / name, "exit 1" if name == broken else "exit 0")
    ran = steps(tmp_path, "lint", "types")
    assert ran.returncode == bool(broken), ran.stdout + ran.stderr


@pytest.mark.parametrize("broken", ["", "pip", "pytest", "experiments.train"])
def test_an_error_on_the_newest_packages_fails_the_step(tmp_path, broken):
    """A stand-in for python3.13 makes environments whose tools do nothing, but for the broken one."""
    for name in ("python", "pip"):
        tool(tmp_path / ".venv" / "bin" / name)
    inner = f"""[[ "$*" != *"{broken or "none of these"}"* ]] || exit 1
if [[ "$*" == *--workdir=* ]]; then folder=$(sed "s/.*--workdir=//;s/ .*//" <<<"$*"); mkdir -p "$folder"; fi
[ -z "$folder" ] || echo report >"$folder/report.html" """
    made = tmp_path / "made"
    tool(made / "python", inner)
    tool(made / "pip", "exit 1" if broken == "pip" else "exit 0")
    tool(tmp_path / "bin" / "python3.13", f'[ "$2" = venv ] || exit 0\nmkdir -p "$3" && cp -r {made} "$3/bin"')
    ran = steps(tmp_path, "venv", "newest", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (ran.returncode != 0) == bool(broken), ran.stdout + ran.stderr


def test_a_missing_python_is_named(tmp_path):
    for name in ("python3.12", "python3.13", "python3.14"):
        tool(tmp_path / "bin" / name, "exit 1")
    for name in ("python", "pip"):
        tool(tmp_path / ".venv" / "bin" / name)
    ran = steps(tmp_path, "newest", PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", HOME=str(tmp_path))
    assert ran.returncode == 1
    assert "no Python >= 3.12 with venv is installed here" in ran.stderr
