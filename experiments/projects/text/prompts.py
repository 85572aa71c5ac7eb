"""Captions as they are typed: one, or several with weights, ``caption:weight + caption:weight``.

The colon of a weight follows a letter or a space. After a digit it belongs to the text: ``12:30`` is a caption, and
``room 101 :1.5`` one with a weight.
"""

import math
import re
from typing import NamedTuple

from experiments.cli.config import ConfigError, to_text
from experiments.data.captions import styled

_WEIGHTED = re.compile(r"(.*\S)(?:\s+|(?<!\d)):\s*([+-]?(?:\d+\.?\d*|\.\d+))", re.DOTALL)


class Prompt(NamedTuple):
    """A caption, or a composition of several, as it was typed, and its parts with their weights."""

    text: str
    parts: tuple[tuple[str, float], ...]


def parse(text: str, given: str, style: str | None = None) -> Prompt:
    """A caption, or a composition of several; a weight that is left out is 1. ``given`` is where it was typed.

    >>> parse("red heart:1.5 + cat:-0.5", "--caption").parts
    (('red heart', 1.5), ('cat', -0.5))
    >>> parse("12:30 + room 101 :1.5", "--caption").parts
    (('12:30', 1.0), ('room 101', 1.5))
    """
    parts, shown = [], to_text(text)
    for part in re.split(r"(?<=\s)\+(?=\s)", f" {text} "):
        match = _WEIGHTED.fullmatch(part.strip())
        caption, weight = (match[1], float(match[2])) if match else (part.strip(), 1.0)
        if not caption or caption.startswith(":"):
            raise ConfigError(
                f"{given}={shown}: must hold text, as in a red heart, or a red heart:1.5 + a cat:0.5; images without "
                f"a caption are those of --config.sampling.guidance_scale=0"
            )
        if not math.isfinite(weight):
            raise ConfigError(f"{given}={shown}: weights must be finite numbers, as in a red heart:1.5 + a cat:0.5")
        parts.append((styled(caption, style), weight))
    return Prompt(" ".join(text.split()), tuple(parts))


def single(text: str, given: str) -> str:
    """One caption, without a weight.

    >>> single("a cat:1.5 + a dog", "--negative")
    Traceback (most recent call last):
    ...
    experiments.cli.config.ConfigError: --negative=a cat:1.5 + a dog: must be one caption without a weight
    """
    prompt = parse(text, given)
    if [weight for _, weight in prompt.parts] != [1.0] or " ".join(prompt.parts[0][0].split()) != prompt.text:
        raise ConfigError(f"{given}={text}: must be one caption without a weight")
    return prompt.text
