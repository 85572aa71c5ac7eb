"""The report: one file that holds everything, escaped."""

import base64
import html
import re

import numpy as np
import pytest

import scorekit
from experiments.reporting import report
from experiments.reporting.grids import grid
from experiments.reporting.report import ConfigSection, Figure, Heading, Text
from experiments.reporting.tables import Table, table_as_html


@pytest.fixture
def page(tmp_path):
    """Writes a report; returns the texts of the elements of a tag."""

    def page(sections, title="digits", summary=None):
        text = report.write_report(tmp_path / "run" / "report.html", title, summary or {}, sections).read_text()
        assert "<script" not in text
        return lambda tag: [html.unescape(inside) for inside in re.findall(rf"<{tag}\b[^>]*>([^<]*)</{tag}>", text)]

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
    texts = page(sections, title=evil, summary={evil: evil, "bits/dim": 2.345678})
    assert f", scorekit {scorekit.__version__}, " in texts("div")[0]
    for tag in ("title", "h1", "h2", "pre", "summary"):
        assert texts(tag) == [evil]
    assert texts("p") == [evil, "Second."]
    assert (texts("dt"), texts("dd")) == ([evil, "bits/dim"], [evil, "2.346"])
    assert (texts("th"), texts("td")) == ([evil, "accuracy"], [evil, "0.9877"])
    assert texts("figcaption") == [evil, evil]  # of the figure and of the table
    assert '<td class="number">1<' in (row := table_as_html(Table(["count", "done"], [[1, True]])))
    assert "<td>yes<" in row
    text = (tmp_path / "run" / "report.html").read_text()
    ((alt, image),) = re.findall(r'<img alt="([^"]*)" src="data:image/png;base64,([^"]*)"', text)
    assert (html.unescape(alt), base64.b64decode(image)) == (evil, png.read_bytes())


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
