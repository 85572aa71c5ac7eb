"""The files around the package say what the package says."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

import scorekit

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser(interpolation=None)
SETUP.read(ROOT / "setup.cfg")
RUN = (ROOT / ".ci" / "run").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()


def test_ruff_has_one_version():
    (wanted,) = re.findall(r"^ruff==(\S+)$", SETUP["options.extras_require"]["test"], re.MULTILINE)
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    found = {hook["id"]: hook["additional_dependencies"] for hook in repository["hooks"] if "ruff" in hook["id"]}
    assert found == {"ruff-check": [f"ruff=={wanted}"], "ruff-format": [f"ruff=={wanted}"]}


def test_the_workflow_runs_every_step_once():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    (job,) = workflow["jobs"].values()
    assert any(step.get("run") == ".ci/run ${{ matrix.steps }}" for step in job["steps"])
    steps = " ".join(job["strategy"]["matrix"]["steps"]).split()
    (known,) = re.findall(r'^all="(.*)"$', RUN, re.MULTILINE)
    assert sorted(steps) == sorted(known.split())
    assert sorted(re.findall(r"^step_(\w+)\(\)", RUN, re.MULTILINE)) == sorted(steps)


def test_the_citation_has_the_version_and_the_licence():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == scorekit.__version__
    assert citation["license"] == SETUP["metadata"]["license"]


def test_the_site_on_readthedocs_is_that_of_the_docs_extra():
    settings = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text())
    (install,) = settings["python"]["install"]
    assert set(install["extra_requirements"]) <= set(SETUP["options.extras_require"])
    assert (ROOT / settings["sphinx"]["configuration"]).exists()


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.stem
)
def test_issue_templates_are_valid(path):
    template = yaml.safe_load(path.read_text())
    if path.stem != "config":
        assert {"name", "description", "body"} <= set(template)
        assert all(part["attributes"]["label"] for part in template["body"])


def test_what_the_page_for_contributors_names_exists():
    named = re.findall(r"`((?:\.ci|docs|experiments|scorekit|tests)/[\w/.]*)`", CONTRIBUTING)
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path
