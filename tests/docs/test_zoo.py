"""docs/zoo.md is the catalogue of attacks."""

from __future__ import annotations

from tests.docs.zoo_page import DOCUMENT, write_page


def test_the_page_is_the_catalogue() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == write_page(), "run: python -m tests.docs.zoo_page"
