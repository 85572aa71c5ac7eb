"""Captions as they are typed."""

import pytest

from experiments.cli.config import ConfigError
from experiments.projects.text import prompts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("red heart", (("red heart", 1.0),)),
        ("red heart:1.5 + a cat : 0.5", (("red heart", 1.5), ("a cat", 0.5))),
        ("cat face + dog face:-1", (("cat face", 1.0), ("dog face", -1.0))),
        ("sign: stop", (("sign: stop", 1.0),)),
        ("1+1", (("1+1", 1.0),)),
        ("12:30", (("12:30", 1.0),)),  # the colon of a weight follows a letter or a space
        ("at 12:30 + room 101 :1.5", (("at 12:30", 1.0), ("room 101", 1.5))),
    ],
)
def test_weights_and_parts(text, parts):
    assert prompts.parse(text, "--caption").parts == parts


def test_a_style_is_in_the_words_of_each_part():
    assert prompts.parse("a:2 + b", "--caption", "noto").parts == (("a, noto style", 2.0), ("b, noto style", 1.0))


def test_a_file_has_a_caption_in_each_line(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("red heart\n\na cat:2\n")
    assert [prompt.text for prompt in prompts.read(["a dog"], str(path), None)] == ["a dog", "red heart", "a cat:2"]
    path.write_text("\n")
    with pytest.raises(ConfigError, match=r"captions_file=.*it is empty"):
        prompts.read([], str(path), None)
    with pytest.raises(ConfigError, match=r"captions_file=.*must be a text file"):
        prompts.read([], str(tmp_path), None)
