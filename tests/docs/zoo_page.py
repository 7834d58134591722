"""docs/zoo.md, written from the catalogue of attacks.

``python -m tests.docs.zoo_page`` brings the document up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

from osp2p.evil import EVERY_ROLE, FAMILIES, Attack, list_attacks

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "zoo.md"

_HEAD = """\
# The zoo

Every attack that `osp2p evil` can make, {count} in all. This page is written from the catalogue
(`python -m tests.docs.zoo_page`); `osp2p evil --list` prints the same, and `--json` gives it to programs.

```
osp2p evil 'lines/*' books 127.0.0.1:11111                 # two families against a tracker
osp2p evil paths 127.0.0.1:11112 --file cat.jpg            # one family against a peer that shares cat.jpg
osp2p evil --peer chunks -t 127.0.0.1                      # an evil peer: claims what others share, serves wrong chunks
osp2p evil tracker/endless-peers --port 5000 -t 127.0.0.1  # an evil tracker, that lies about what a sound one knows
osp2p evil neighbours/sybils --port 5001 -t 127.0.0.1:11112  # evil nodes, that enter an overlay through an honest one
```

Attacks go to this machine alone, unless `--network-i-own ADDR/PREFIX` names another network. They are bounded in bytes
and in time, and `--seed N` sends the same bytes again to a victim that says the same (a signed call has the victim's
address and time in it). Against a tracker or a peer, an honest user looks before, beside and after each attack whether
the victim is still of use: a verdict is good only if it is.

An entry says against whom it is, what it pushes on (fields of `osp2p.limits.Limits`, or a rule of the protocol), and
what a sound program does, within what time:

- **refused**: it answers with a refusal, or closes without a byte where there is no other way to refuse. Of a download:
  it fails, cleanly, where there is nothing right to be had.
- **closed**: it ends the connection.
- **survived**: it goes on as if nothing were, with right answers and right files.
- **out-waited**: it ends what is slow when its own time is up.

Who plays what:

"""


def write_page() -> str:
    """The whole page."""
    attacks = list_attacks()
    roles = "".join(f"- *{role}*: {meaning}.\n" for role, meaning in EVERY_ROLE.items())
    families = "".join(part for family in FAMILIES for part in _write_family(family.__name__, family.__doc__, attacks))
    return _HEAD.format(count=len(attacks)) + roles + families


def _write_family(module: str, doc: str | None, attacks: list[Attack]) -> Iterator[str]:
    family = module.rpartition(".")[2]
    yield f"\n## {family}\n\n{' '.join((doc or '').split()).partition(': ')[2][:1].upper()}"
    yield f"{' '.join((doc or '').split()).partition(': ')[2][1:]}\n"
    for one in attacks:
        if one.family == family:
            pushes = ", ".join(f"`{name}`" for name in one.limits) or one.breaks
            yield f"\n**`{one.id}`** against a {one.against}, played by a {one.role}. Pushes on: {pushes}.\n"
            yield f"Expected: {one.expect}, within {one.within:g} s.\n\n{fill(one.text, 120)}\n"


if __name__ == "__main__":
    DOCUMENT.write_text(write_page(), encoding="utf-8")
