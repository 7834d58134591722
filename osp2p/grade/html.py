"""A grade as one page that needs nothing else, with the evidence for each failure. Pure.

Everything that comes from elsewhere is escaped: a graded program, too, is a stranger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from osp2p.grade.transcript import Entry, escape_text
from osp2p.grade.verdict import CATEGORIES, Grade, Judged, Score

_STYLE = """
:root { color-scheme: light dark; --good: #1a7f37; --bad: #cf222e; --dim: #6e7781; --line: #8884; --box: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
.dim { color: var(--dim); }
.scores { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: 1rem; margin: 1.5rem 0; }
.score { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; }
.score b { display: block; font-size: 1.6rem; }
.bar { height: .4rem; border-radius: .2rem; background: var(--bad); margin-top: .4rem; overflow: hidden; }
.bar i { display: block; height: 100%; background: var(--good); }
.none .bar { background: var(--line); }
details { border-bottom: 1px solid var(--line); padding: .35rem 0; }
summary { cursor: pointer; display: flex; gap: .75rem; align-items: baseline; }
summary code { flex: 1; overflow-wrap: anywhere; }
.mark { width: 6.5rem; font-weight: 600; flex: none; }
.passed .mark { color: var(--good); }
.failed .mark, .not-run .mark { color: var(--bad); }
.not-offered .mark { color: var(--dim); }
.reason { color: var(--bad); font-weight: 600; overflow-wrap: anywhere; }
.evidence { overflow-x: auto; background: var(--box); border-radius: .5rem; margin: .5rem 0; }
table { border-collapse: collapse; font: 13px/1.45 ui-monospace, monospace; width: 100%; }
td { padding: 0 .6rem; vertical-align: top; white-space: pre-wrap; overflow-wrap: anywhere; }
td.n { color: var(--dim); white-space: nowrap; width: 1%; text-align: right; }
td.way { width: 1%; white-space: nowrap; }
tr.in td.way { color: #0969da; } tr.out td.way { color: #9a6700; }
@media print { details { break-inside: avoid; } }
"""

#: How much of a body is shown.
_HEAD = 120


def write_html(grade: Grade) -> str:
    """Write a grade as a page."""
    return "\n".join(_page(grade)) + "\n"


def _page(grade: Grade) -> Iterator[str]:
    title = escape(f"{grade.kind} {grade.target}")
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Grade of {title}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{'Passed' if grade.passed else 'Not passed'}: {title}</h1>"
    yield f'<p class="dim">{len(grade.judged)} checks in {grade.seconds:.1f} s, seed {grade.seed}</p>'
    yield '<div class="scores">'
    yield from map(_score, grade.scores())
    yield "</div>"
    for category in CATEGORIES:
        judged = [one for one in grade.judged if one.check.category == category]
        if judged:
            yield f"<h2>{escape(category)}</h2>"
            yield from (line for one in sorted(judged, key=_rank) for line in _check(one))
    yield "</body></html>"


def _rank(judged: Judged) -> bool:
    """What went wrong comes first."""
    return judged.outcome not in ("failed", "not run")


def _score(score: Score) -> str:
    if score.percent is None:
        return f'<div class="score none">{escape(score.category)}<b>not offered</b><div class="bar"></div></div>'
    return (
        f'<div class="score">{escape(score.category)}<b>{score.percent} %</b>'
        f'<span class="dim">{score.passed} of {score.asked}</span>'
        f'<div class="bar"><i style="width:{score.percent}%"></i></div></div>'
    )


def _check(judged: Judged) -> Iterator[str]:
    kind = judged.outcome.replace(" ", "-")
    wrong = judged.outcome in ("failed", "not run")
    yield f'<details class="{kind}"{" open" if wrong else ""}><summary><span class="mark">{judged.outcome}</span>'
    yield f'<code>{escape(judged.check.id)}</code><span class="dim">{_figures(judged)}</span></summary>'
    yield f"<p>{escape(judged.check.title)}</p>"
    if judged.reason:
        yield f'<p class="{"reason" if wrong else "dim"}">{escape(judged.reason)}</p>'
    if wrong and judged.evidence:
        yield '<div class="evidence"><table>'
        yield from _evidence(judged.evidence)
        yield "</table></div>"
    yield "</details>"


def _figures(judged: Judged) -> str:
    figures = [f"{name}: {value}" for name, value in judged.figures.items()]
    return escape(", ".join([*figures, f"{judged.seconds:.2f} s"]))


def _evidence(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        way = {"<": "in", ">": "out"}.get(entry.way or "", "")
        time = f"{entry.seconds:.3f}" if entry.seconds else ""
        yield (
            f'<tr class="{way}"><td class="n">{time}</td><td class="n">#{entry.connection}</td>'
            f'<td class="way">{_sign(entry)}</td><td>{escape(_text(entry))}</td></tr>'
        )


def _sign(entry: Entry) -> str:
    return {"<": "◀ it", ">": "▶ we"}.get(entry.way or "", "")


def _text(entry: Entry) -> str:
    """What happened, for a person."""
    match entry.kind:
        case "<" | ">":
            return escape_text(entry.data)
        case "<~" | ">~":
            return escape_text(entry.data) + " (no line end)"
        case "<=" | ">=":
            head = f"; they begin {escape_text(entry.head[:_HEAD])}" if entry.head else ""
            return f"({entry.size} bytes, SHA-256 {entry.sha256[:16]}…{head})"
        case "<!" | ">!":
            return "(ends its direction)" if entry.way == "<" else "(end of our direction)"
        case "accept":
            return f"({entry.address} connects)"
        case "connect":
            return f"(connected to {entry.address})"
        case "close":
            return "(closed)"
        case _:
            return "(the connection is broken)"
