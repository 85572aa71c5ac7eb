"""The page of configs is what the code makes now."""

from pathlib import Path

from experiments.analysis.config_page import COMMAND, PATH, page

ROOT = Path(__file__).parents[3]


def test_the_committed_page_is_that_of_the_code():
    same = (ROOT / PATH).read_text() == page()
    assert same, f"{PATH} is not what the code makes now; write it with: {COMMAND}"


def test_the_page_has_fields_choices_and_their_arguments_as_tables():
    text = page()
    assert "| `training.steps` | `1000` | int >= 1 | Updates of the parameters. |" in text
    assert "| **`unipc`** |  |  |" in text
    assert "| `distillation.student_rate` | `0.2` | float > 0 |" in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.replace("\\|", "").count("|") == 5, line
