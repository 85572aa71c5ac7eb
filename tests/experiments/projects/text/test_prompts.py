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


@pytest.mark.parametrize("text", ["", " + a cat", "a cat:" + 400 * "9", ":2"])
def test_text_without_a_caption_is_an_error(text):
    with pytest.raises(ConfigError, match="--caption="):
        prompts.parse(text, "--caption")
