"""Numbers of equations, algorithms and tables in citations: only those that somebody has looked up."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

LOOKED_UP = {
    "2006.11239": ("eq. 4", "eq. 7", "eq. 12", "eq. 14", "alg. 2"),  # diffusers' DDPMScheduler; several implementations
    "2010.02502": ("eq. 12", "eq. 16"),  # diffusers' DDIMScheduler
    "2011.13456": ("eq. 6", "eq. 13", "eq. 32"),  # the appendices of 2206.00364, which quote them
    "2102.09672": ("eq. 17",),  # several implementations of the cosine schedule
    "2201.09865": ("alg. 1",),  # diffusers' RePaintScheduler
    "2202.00512": ("sec. 4",),  # denoising-diffusion-pytorch
    "2206.00364": ("eq. 5", "alg. 1", "alg. 2", "table 1", "table 5", "app. F.2"),  # the paper
    "2206.00927": ("alg. 1-2", "alg. 2"),  # the paper
    "2207.12598": ("eq. 6",),  # two implementations
    "2211.01095": ("alg. 2",),  # an implementation of the multistep form
    "2303.01469": ("eq. 5", "alg. 1", "alg. 2", "alg. 3", "app. C"),  # the paper; app. C: diffusers
    "2305.08891": ("alg. 1", "sec. 3.4"),  # diffusers: betas, guider_utils
    "2401.04933": ("table 1",),  # the paper
    "2410.02416": ("alg. 1",),  # two implementations
    "Hairer 1993": ("sec. II.4", "sec. III.5"),  # scipy's select_initial_step; OrdinaryDiffEq's variable Adams steps
    "Karras 2022": ("alg. 1", "app. F.2"),  # 2206.00364, without a link
    "Silverman 1986": ("eq. 3.31",),  # R's bw.nrd0
}
"""By arXiv number, or by first author and year where a citation has none, and where each was read."""

KIND = r"(?:(?:eqs?|alg|sec|app|def|thm|prop|fig)\.|algorithm|section|appendix|table|theorem|proposition|lemma|figure)"
ITEM = rf"\b{KIND} (?:[IVX]+\.)?(?:[A-Z]\b(?:\.\d+)?|\d[\d.:]*(?:-\d+)?)(?<![.:])"
OTHERS = r"(?: et al\.| & [\w-]+| and [\w-]+|,(?: [A-Z][\w-]+,?)+ (?:&|and) [A-Z]\w+)?"
AUTHORS = rf"(?P<name>[A-Z][\w-]+){OTHERS} (?P<year>\d{{4}})[ab]?"
CITATION = rf"{AUTHORS}, (?P<items>{ITEM}(?:(?:, | and ){ITEM})*)(?:[^;|]*?arxiv\.org/abs/(?P<arxiv>\d+\.\d+))?"
QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"(?=[ ,;])")


def unverified(text: str) -> list[str]:
    """The numbers in citations that are not in the table, and those that no author and year precede."""
    text = QUOTED.sub("", re.sub(r"\s+", " ", text))
    found = []
    for match in re.finditer(CITATION, text):
        paper = match["arxiv"] or f"{match['name']} {match['year']}"
        items = re.split(r", | and ", match["items"].replace("appendix", "app."))
        found += [f"{paper}: {item}" for item in items if item not in LOOKED_UP.get(paper, ())]
    rest = re.sub(rf"{AUTHORS}, {ITEM}(?:(?:, | and ){ITEM})*", "", text)
    return found + [f"without author and year: {item}" for item in re.findall(ITEM, rest)]


FILES = sorted(
    path
    for pattern in ("scorekit/**/*.py", "experiments/**/*.py", "docs/**/*.md", "README.md")
    for path in ROOT.glob(pattern)
    if "_build" not in path.parts
)


def test_every_number_of_a_paper_was_looked_up():
    wrong = {str(path.relative_to(ROOT)): unverified(path.read_text()) for path in FILES}
    assert {path: found for path, found in wrong.items() if found} == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Source: Karras et al. 2022, alg. 2 and\n    table 5 (https://arxiv.org/abs/2206.00364).", []),
        ("[Karras 2022, alg. 1](https://arxiv.org/abs/2206.00364)", []),
        ("Silverman 1986, eq. 3.31.", []),
        ("Hairer, Norsett & Wanner 1993, sec. III.5; Lu et al. 2022", []),
        ("Karras et al. 2022, alg. 9 (https://arxiv.org/abs/2206.00364)", ["2206.00364: alg. 9"]),
        ("Ho et al. 2020 (https://arxiv.org/abs/2006.11239); Lin 2023, eq. 15", ["Lin 2023: eq. 15"]),
        ("weight of its algorithm 1", ["without author and year: algorithm 1"]),
        ("the paper, table 5", ["without author and year: table 5"]),
    ],
)
def test_the_check_finds_numbers(text, expected):
    assert unverified(text) == expected
