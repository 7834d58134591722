"""A grade as JUnit's XML, which continuous integration shows. Pure."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from osp2p.grade.transcript import write_entry
from osp2p.grade.verdict import CATEGORIES, Grade, Judged

# What no XML document may hold, not even escaped: control characters, surrogates, and two that are no characters.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(grade: Grade) -> str:
    """Write a grade as a document: a suite for each category, a case for each check."""
    root = ElementTree.Element("testsuites", name=_clean(f"osp2p grade {grade.kind} {grade.target}"))
    root.set("time", f"{grade.seconds:.3f}")
    for category in CATEGORIES:
        judged = [one for one in grade.judged if one.check.category == category]
        if judged:
            _add_suite(root, category, judged)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False).join(
        ['<?xml version="1.0" encoding="UTF-8"?>\n', "\n"]
    )


def _add_suite(root: ElementTree.Element, name: str, judged: list[Judged]) -> None:
    outcomes = [one.outcome for one in judged]
    suite = ElementTree.SubElement(root, "testsuite", name=name, tests=str(len(judged)))
    suite.set("failures", str(outcomes.count("failed")))
    suite.set("errors", str(outcomes.count("not run")))
    suite.set("skipped", str(outcomes.count("not offered")))
    suite.set("time", f"{sum(one.seconds for one in judged):.3f}")
    for one in judged:
        _add_case(suite, one)


def _add_case(suite: ElementTree.Element, judged: Judged) -> None:
    group, _, name = judged.check.id.partition("/")
    case = ElementTree.SubElement(suite, "testcase", classname=_clean(group), name=_clean(name))
    case.set("time", f"{judged.seconds:.3f}")
    if judged.outcome == "not offered":
        ElementTree.SubElement(case, "skipped", message=_clean(judged.reason))
    elif judged.outcome != "passed":
        kind = "failure" if judged.outcome == "failed" else "error"
        found = ElementTree.SubElement(case, kind, message=_clean(judged.reason))
        found.text = _clean("\n".join([judged.check.title, "", *map(write_entry, judged.evidence)]))
    if judged.figures:
        out = ElementTree.SubElement(case, "system-out")
        out.text = _clean("\n".join(f"{name}: {value}" for name, value in judged.figures.items()))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
