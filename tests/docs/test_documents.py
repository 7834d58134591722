"""What holds for every document: numbers are those of the code, and links lead somewhere."""

from __future__ import annotations

import dataclasses
import re

import pytest

from osp2p.limits import KIB, MIB, Limits
from tests.docs.markdown import DOCS, anchors, link_targets, read_document

DOCUMENTS = sorted(path.name for path in DOCS.glob("*.md"))
FIELDS = {field.name for field in dataclasses.fields(Limits)}

#: How a limit is cited: a number, perhaps with a unit or a noun, and the field's name in parentheses.
_CITED = re.compile(r"([\d,]+(?:\.\d+)?)(?:\s+(s|KiB|MiB|[a-z]+))?\s+\(`(\w+)`\)")

_UNITS = {"KiB": KIB, "MiB": MIB}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_numbers_are_those_of_the_code(name: str) -> None:
    cited = _CITED.findall(read_document(name))
    for number, unit, field in cited:
        assert float(number.replace(",", "")) * _UNITS.get(unit, 1) == getattr(Limits(), field), field


def test_every_limit_that_the_protocol_names_stands_behind_its_number() -> None:
    document = read_document("protocol.md")
    mentioned = re.findall(r"\(`(\w+)`\)", document)
    assert [field for _, _, field in _CITED.findall(document)] == [field for field in mentioned if field in FIELDS]
    assert len(mentioned) > 15


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    text = read_document(name)
    for target in link_targets(text):
        path, _, anchor = target.partition("#")
        there = DOCS / path if path else DOCS / name
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there.read_text(encoding="utf-8")), target
