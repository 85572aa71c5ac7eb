"""The report: one file that holds everything, escaped, and read back by an HTML parser."""

import base64
from html.parser import HTMLParser

import numpy as np
import pytest

import scorekit
from experiments.reporting import report
from experiments.reporting.grids import grid
from experiments.reporting.report import ConfigSection, Figure, Heading, Text
from experiments.reporting.tables import Table


class Reader(HTMLParser):
    """Collects tags, checks that they nest, and keeps the text."""

    void = ("meta", "img", "br")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append((self.open[-1] if self.open else "", data))

    def texts(self, tag):
        return [data for where, data in self.text if where == tag]


@pytest.fixture
def page(tmp_path):
    def page(sections, title="digits", summary=None):
        path = report.write_report(tmp_path / "run" / "report.html", title, summary or {}, sections)
        return Reader(path.read_text())

    return page


def test_a_report_embeds_every_section_in_one_file_with_all_text_escaped(page, tmp_path):
    evil = '<script>"&'
    png = grid(tmp_path / "a.png", np.zeros((1, 1, 8, 8, 1)))
    sections = [
        Heading(evil),
        Text(f"{evil}\n\nSecond."),
        Figure(png, evil),
        Table([evil, "accuracy"], [[evil, 0.98765]], evil),
        ConfigSection(evil, evil),
    ]
    read = page(sections, title=evil, summary={evil: evil, "bits/dim": 2.345678})
    assert "script" not in {tag for tag, _ in read.tags}
    assert f", scorekit {scorekit.__version__}, " in read.texts("div")[0]
    for tag in ("title", "h1", "h2", "pre", "summary"):
        assert read.texts(tag) == [evil]
    assert read.texts("p") == [evil, "Second."]
    assert (read.texts("dt"), read.texts("dd")) == ([evil, "bits/dim"], [evil, "2.346"])
    assert (read.texts("th"), read.texts("td")) == ([evil, "accuracy"], [evil, "0.9877"])
    assert read.texts("figcaption") == [evil, evil]  # of the figure and of the table
    (image,) = [attrs for tag, attrs in read.tags if tag == "img"]
    assert image["alt"] == evil
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == png.read_bytes()


def test_invalid_sections_raise_and_leave_the_old_report(page, tmp_path):
    page([Text("old")])
    with pytest.raises(ValueError, match=r"2 cells .* \[1\]"):
        page([Table(["a", "b"], [[1]])])
    with pytest.raises(FileNotFoundError, match=r"missing\.png"):
        page([Figure(tmp_path / "missing.png")])
    with pytest.raises(ValueError, match="section must be"):
        page(["text"])
    assert "old" in (tmp_path / "run" / "report.html").read_text()
    assert [x.name for x in (tmp_path / "run").iterdir()] == ["report.html"]
