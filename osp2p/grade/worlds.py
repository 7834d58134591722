"""Worlds for a downloader, as a table: who is there besides it, what it fetches, and what must be there in the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from osp2p.evil import Attack, list_attacks
from osp2p.grade.holder import HONEST, Manners
from osp2p.grade.verdict import Category, Check

#: Seconds that a program may take to be done with an attack, beyond which it is only made in a thorough grade.
USUAL_WITHIN = 60.0

#: Evil holders of one world at least, so that hardly anybody asks the honest one first by chance.
_LEAST_EVIL = 6

HonestKind = Literal["old", "new", "nobody"]
"""Who is honest: a holder as of 2007, one that speaks OSP2P/2, or nobody."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file of a world.

    Attributes:
        name: raw bytes; ``{outside}`` in it is an absolute path outside the directory.
        size: in bytes.
        text: whether it holds lines of text.
        due: whether it must be there in the end; None: it may, or not.
    """

    name: bytes
    size: int
    text: bool = False
    due: bool | None = True

    def make(self, seed: int) -> bytes:
        """What it holds."""
        rng = Random(f"{seed} {self.name.hex()} {self.size}")
        if self.text:
            line = b"the quick brown fox jumps over the lazy dog, %d times\n"
            return b"".join(line % rng.randrange(10**6) for _ in range(self.size // 50))[: self.size]
        return rng.randbytes(self.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One world.

    Attributes:
        check: what it asks.
        files: what is fetched, in this order.
        honest: who is honest.
        manners: of the honest holder, where it is one as of 2007.
        evil: modes of evil holders, each of which is there once.
        tracker: the attack that the tracker makes; None: it is sound.
        loose: whether the tracker is one as of 2007 that believes any name, and lists the honest holder in the middle.
        fakes: whether the tracker names 250 peers that are not there.
        within: seconds that the program may take; None: as the user says.
        speed: least bytes a second, start and all; None: no matter.
    """

    check: Check
    files: tuple[Content, ...]
    honest: HonestKind = "old"
    manners: Manners = HONEST
    evil: tuple[str, ...] = ()
    tracker: Attack | None = None
    loose: bool = False
    fakes: bool = False
    within: float | None = None
    speed: float | None = None


CAT = Content(b"cat.jpg", 300_000)
FILM = Content(b"film.bin", 1_500_000)
NOTES = Content(b"notes.txt", 2_000, text=True)
EMPTY = Content(b"empty.txt", 0)


def _base(name: str, category: Category, title: str, *files: Content, **more: object) -> World:
    return World(check=Check(name, category, title), files=files, **more)  # type: ignore[arg-type]


_PLAIN: tuple[World, ...] = (
    _base("protocol/one-file", "protocol", "A file that one peer has is fetched.", CAT),
    _base("protocol/several", "protocol", "Several files, of text and of any bytes, are fetched.", NOTES, CAT, FILM),
    _base("protocol/empty-file", "protocol", "An empty file whose checksum says so is a file.", EMPTY, NOTES),
    _base(
        "protocol/odd-names",
        "protocol",
        "Names with blanks, percent signs and letters of any alphabet are quoted, and files so named are fetched.",
        Content(b"two words.txt", 500, text=True),
        Content(b"100%.txt", 500, text=True),
        Content("größe.png".encode(), 5_000),
        Content(b"a=b+c,(d).txt", 500, text=True),
    ),
    _base(
        "protocol/without-checksum",
        "protocol",
        "A file is fetched though nobody has told a checksum.",
        NOTES,
        manners=Manners(checksums=False),
    ),
    _base(
        "protocol/nobody-has-it",
        "protocol",
        "Where nobody has the file, the program ends, and there is none.",
        Content(b"cat.jpg", 300_000, due=False),
        honest="nobody",
    ),
    _base(
        "robustness/never-closes",
        "robustness",
        "A holder that never closes behind the file, as many old ones do, is borne: the checksum tells.",
        CAT,
        manners=Manners(closes=False),
    ),
    _base(
        "robustness/serves-nothing",
        "robustness",
        "Where the only holder closes without a byte, the program ends, and there is no file.",
        Content(b"cat.jpg", 300_000, due=False),
        manners=Manners(answers=False),
    ),
    _base(
        "robustness/fakes",
        "robustness",
        "Among 250 peers that are not there, the one that is there is found.",
        CAT,
        fakes=True,
    ),
    _base(
        "robustness/only-liars",
        "robustness",
        "Where all who send anything lie, no wrong byte is left under the file's name: the checksum tells.",
        Content(b"cat.jpg", 300_000, due=None),
        manners=Manners(answers=False),
        evil=("wrong/bit", "wrong/size-kept", "truncated/byte", "truncated/half", "wrong/longer"),
        loose=True,
    ),
    _base(
        "robustness/escapes",
        "robustness",
        "A name that leads out of the directory is not written there.",
        Content(b"../escaped.txt", 100, text=True, due=None),
        Content(b"../../escaped.txt", 100, text=True, due=None),
        Content(b"a/../../escaped.txt", 100, text=True, due=None),
        Content(b"{outside}/escaped.txt", 100, text=True, due=None),
        loose=True,
    ),
    _base(
        "speed/large-file",
        "speed",
        "A large file comes with at least 5 MB/s, start and all.",
        Content(b"large.bin", 40_000_000),
        speed=5e6,
    ),
    _base(
        "speed/many-files",
        "speed",
        "Fifty small files come within 15 s.",
        *(Content(b"file-%02d.txt" % number, 4_000, text=True) for number in range(50)),
        within=15.0,
    ),
)

_TITLES = {
    "chunks": "Chunks that are not what the list says are found out, and taken from others.",
    "lists": "Chunk lists that do not make the content id are found out.",
    "bitfields": "Holders that lie about what they have cost some time, and nothing else.",
    "lengths": "Answers whose length is a lie are found out.",
    "pace": "Holders that give just enough, or say that they are busy, do not hold up the others.",
    "endless": "Holders that never stop sending are left at last, and the file is taken from the honest one.",
    "garbage": "Holders that send something else than the file are found out.",
    "silence": "Holders that are silent, from the beginning or suddenly, are left at last.",
    "truncated": "Holders that break off are found out, however quietly they do.",
    "wrong": "Holders that send wrong bytes are found out.",
}


def all_worlds(*, thorough: bool) -> list[World]:
    """Every world.

    Args:
        thorough: with one world for each attack, however long it may take, rather than one for each family of them.
    """
    return [*_PLAIN, *_evil_worlds(thorough), *_sybil_worlds(thorough), *_tracker_worlds(thorough)]


def _fits(attack: Attack, thorough: bool) -> bool:
    return thorough or attack.within <= USUAL_WITHIN


def _evil_worlds(thorough: bool) -> list[World]:
    """Holders that lie, a family at a time, beside an honest one."""
    families: dict[tuple[str, str], list[Attack]] = defaultdict(list)
    for attack in list_attacks("downloader"):
        if attack.role in ("old holder", "holder") and attack.sybils == 1 and _fits(attack, thorough):
            families[attack.id if thorough else attack.family, attack.role].append(attack)
    return [_evil_world(name, role, attacks) for (name, role), attacks in families.items()]


def _evil_world(name: str, role: str, attacks: Sequence[Attack]) -> World:
    title = attacks[0].text if len(attacks) == 1 else _TITLES.get(name, f"Holders of the family {name} do no harm.")
    modes = [attack.id for attack in attacks]
    while len(modes) < _LEAST_EVIL:
        modes += modes
    return World(
        check=Check(f"attack/{name}" if role == "old holder" else f"osp2p2/{name}", _category(role), title),
        files=(CAT if role == "old holder" else FILM,),
        honest="old" if role == "old holder" else "new",
        evil=tuple(modes),
        loose=role == "old holder",
        within=max(attack.within for attack in attacks) + USUAL_WITHIN if len(attacks) == 1 else None,
    )


def _category(role: str) -> Category:
    return "OSP2P/2" if role == "holder" else "robustness"


def _sybil_worlds(thorough: bool) -> list[World]:
    """One liar under many names, and those who only register."""
    found = [
        attack
        for attack in list_attacks("downloader")
        if (attack.role == "registrant" or (attack.sybils > 1 and attack.role != "tracker")) and _fits(attack, thorough)
    ]
    return [
        World(
            check=Check(f"attack/{attack.id}", _category(attack.role), attack.text),
            files=(FILM if attack.role == "holder" else CAT,),
            honest="new" if attack.role == "holder" else "old",
            evil=(attack.id,),
            within=attack.within + USUAL_WITHIN if thorough else None,
        )
        for attack in found
    ]


def _tracker_worlds(thorough: bool) -> list[World]:
    """The tracker itself is evil: it may keep files from the program, and must do nothing else to it."""
    return [
        World(
            check=Check(f"attack/{attack.id}", "robustness", attack.text),
            files=(Content(CAT.name, CAT.size, due=None),),
            tracker=attack,
            within=attack.within + USUAL_WITHIN if thorough else None,
        )
        for attack in list_attacks("downloader", "tracker")
        if _fits(attack, thorough)
    ]
