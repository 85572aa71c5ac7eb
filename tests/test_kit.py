"""The files around the package agree with one another."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import yaml

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


def test_the_checks_end_with_the_status_of_their_steps(tmp_path):
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text(RUN)
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "pip", "ruff", "pyright"):
        tools.joinpath(name).symlink_to(shutil.which("true"))
    run = lambda: subprocess.run(["bash", ".ci/run", "lint", "types"], cwd=tmp_path, capture_output=True).returncode
    assert run() == 0
    for name in ("ruff", "pyright"):  # a step of its own and one that runs alongside others
        tools.joinpath(name).unlink()
        tools.joinpath(name).symlink_to(shutil.which("false"))
        assert run() == 1
        tools.joinpath(name).unlink()
        tools.joinpath(name).symlink_to(shutil.which("true"))
