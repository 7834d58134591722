"""A grade as XML and as a page: whole, well-formed, and with nothing in it that a stranger could have meant."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osp2p.grade.html import write_html
from osp2p.grade.junit import write_junit
from osp2p.grade.transcript import Entry, Kind
from osp2p.grade.verdict import Check, Grade, Judged

EVIL = "</td><script>alert(1)</script>\x00\x1b[31m&amp;\ud800\ufffe\"'"

ALL_KINDS: tuple[Kind, ...] = ("accept", "connect", "<", ">", "<~", ">~", "<=", ">=", "<!", ">!", "close", "lost")


def make(text: str, data: bytes) -> Grade:
    evidence = tuple(Entry(0.25, 1, kind, data, address=text, size=9, sha256="0" * 64, head=data) for kind in ALL_KINDS)
    return Grade(
        "peer",
        text,
        7,
        1.5,
        (
            Judged(Check("protocol/get", "protocol", text), "passed", figures={"rate": text}),
            Judged(Check(f"attack/{text}", "robustness", text), "failed", text, 0.5, evidence),
            Judged(Check("attack/b", "robustness", text), "not run", text),
            Judged(Check("osp2p2/hello", "OSP2P/2", text), "not offered", text),
        ),
    )


class Page(HTMLParser):
    """What a browser makes of a page: which elements there are, and whether they close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.seen: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


KNOWN = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "b", "i", "span", "details", "summary",
    "code", "table", "tr", "td",
}  # fmt: skip


@given(st.text(), st.binary(max_size=200))
def test_a_page_holds_no_element_of_a_strangers(text: str, data: bytes) -> None:
    page = Page(write_html(make(text, data)))
    assert set(page.seen) <= KNOWN
    assert page.seen.count("details") == 4
    assert page.open == []
    assert page.addresses == []


def test_a_page_shows_what_was_wrong_with_its_evidence() -> None:
    page = Page(write_html(make("it <hangs>", b"\xffGET x\n")))
    assert "Not passed: peer it <hangs>" in page.text
    assert r"\xffGET x\x0a" in page.text
    assert page.text.index("attack/it <hangs>") < page.text.index("attack/b")
    assert page.seen.count("tr") == len(ALL_KINDS)
    for score in ("100 %", "0 of 2", "not offered"):
        assert score in page.text
    assert "http" not in write_html(make("x", b""))


@given(st.text(), st.binary(max_size=200))
def test_xml_is_well_formed_whatever_was_said(text: str, data: bytes) -> None:
    root = ElementTree.fromstring(write_junit(make(text, data)).encode("utf-8", "surrogatepass"))
    assert [suite.get("name") for suite in root] == ["protocol", "robustness", "OSP2P/2"]


def test_xml_counts_and_tells() -> None:
    root = ElementTree.fromstring(write_junit(make(EVIL, b"GET x\xff")))
    robustness = root[1]
    counts = {name: robustness.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "2", "failures": "1", "errors": "1", "skipped": "0"}
    failure = robustness[0].find("failure")
    assert failure is not None
    assert "GET x\\xff" in (failure.text or "")
    assert failure.get("message", "").startswith("</td><script>")
    assert root[2].get("skipped") == "1"
    assert root[0][0].get("name") == "get"


@pytest.mark.parametrize("write", [write_html, write_junit])
def test_what_passed_has_no_evidence(write: object) -> None:
    grade = Grade(
        "tracker", "t", 1, 1.0, (Judged(Check("a/b", "speed", "t"), "passed", evidence=(Entry(0, 1, "<", b"SECRET"),)),)
    )
    assert callable(write)
    assert "SECRET" not in write(grade)
