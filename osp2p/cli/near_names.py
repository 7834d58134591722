"""What a user may have meant by a name that nobody has: which parts of a long list to look at, and what is near there.

Pure. A tracker lists a hundred thousand names, and gives them only in their order; so it is asked for a few pages of
that list: its first one, which is all of a short list, and those where the name would stand, typed so or in other
letters. What was meant may be on none of them. It is a hint.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from osp2p.cli.linking import is_link

#: Most characters of a name that is looked for: to compare two takes time by the product of their lengths.
LONGEST = 128

#: Most names that are proposed for one.
MOST = 3

#: How much of two names has to be the same in the same order, from 0 to 1.
_NEAR = 0.75


def beginnings(name: bytes) -> list[bytes]:
    """What names begin with among which one that was mistyped may be.

    Returns: the empty beginning; then, unless the name is too long, its directory with the first half of the file's
        name, and with all of it before its first dot, as typed and in the cases that people use.
    """
    text = os.fsdecode(name)
    if len(text) > LONGEST:
        return [b""]
    directory, slash, last = text.rpartition("/")
    stem = last.partition(".")[0] or last
    begins = [stem[: (len(stem) + 1) // 2], stem, stem.lower(), stem.upper(), stem.capitalize()]
    return list(dict.fromkeys([b"", *(os.fsencode(directory + slash + begin) for begin in begins)]))


def nearest(name: bytes, listed: Iterable[bytes]) -> list[bytes]:
    """The names that are most like one, at most `MOST`, the likeliest first.

    Those that differ in case or directory alone are likelier than any others, which are not named beside them. What the
    commands would not take for a name, an option or a link, is left out: a stranger may have thought of it.

    Args:
        name: what the user typed; for one of more than `LONGEST` characters there are none.
        listed: names of strangers.
    """
    typed = os.fsdecode(name)
    if len(typed) > LONGEST:
        return []
    from difflib import get_close_matches

    wanted = typed.casefold()
    texts = {text: text.casefold() for text in map(os.fsdecode, sorted(set(listed) - {name})) if _is_plain(text)}
    same = [text for text, folded in texts.items() if folded == wanted]
    elsewhere = [text for text, folded in texts.items() if folded.endswith("/" + wanted)]
    if same or elsewhere:
        return [os.fsencode(text) for text in dict.fromkeys([*same, *elsewhere])][:MOST]
    close = get_close_matches(wanted, list(dict.fromkeys(texts.values())), n=MOST, cutoff=_NEAR)
    return [os.fsencode(text) for likely in close for text, folded in texts.items() if folded == likely][:MOST]


def _is_plain(text: str) -> bool:
    """Whether a name can be shown in a line, and typed as a NAME as it is."""
    return len(text) <= 2 * LONGEST and not text.startswith("-") and not is_link(text)
