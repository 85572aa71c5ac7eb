"""Captions as they are typed."""

import pytest

from experiments.cli.config import ConfigError
from experiments.projects.text import prompts


def test_weights_parts_and_styles():
    for text, parts in {
        "red heart": (("red heart", 1.0),),
        "red heart:1.5 + a cat : 0.5": (("red heart", 1.5), ("a cat", 0.5)),
        "sign: stop": (("sign: stop", 1.0),),
        "1+1": (("1+1", 1.0),),
    }.items():
        assert prompts.parse(text, "--caption").parts == parts
    assert prompts.parse("a:2 + b", "--caption", "noto").parts == (("a, noto style", 2.0), ("b, noto style", 1.0))
    for text in ("", " + a cat", "a cat:" + 400 * "9", ":2"):
        with pytest.raises(ConfigError, match="--caption="):
            prompts.parse(text, "--caption")
