"""``replay``: a transcript against another server."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, NOT_PASSED
from osp2p.cli.grade_parsers import read_address
from osp2p.cli.text import count_of, escape
from osp2p.errors import MalformedLine
from osp2p.grade.replay import Part, Replay, choose_part
from osp2p.grade.transcript import parse_transcript
from osp2p.net import TcpNetwork
from osp2p.net.errors import disk_errors


async def replay(arguments: Namespace, console: Console) -> int:
    """Play a transcript. Returns: the exit code.

    Raises:
        UsageError: it is no transcript, or holds nothing to play.
        StoreError, NetworkError.
    """
    path, target = arguments.words
    host, port = read_address(target)
    part = _read(path, arguments.of)
    player = Replay(TcpNetwork(), host, port, codes_only=arguments.codes)
    try:
        difference = await player.run(part.entries)
    except MalformedLine as error:
        raise UsageError(f"{escape(path)}: {error}") from None
    if part.left_out:
        console.note(f"{count_of(part.left_out, 'connection')} of the transcript left out; --of ADDRESS chooses others")
    compared = count_of(player.compared, "answer")
    if console.json:
        fields = {"event": "replay", "connections": part.connections, "compared": player.compared}
        found = None if difference is None else {name: getattr(difference, name) for name in difference.__slots__}
        console.records([{**fields, "difference": found}])
    elif difference is None:
        console.say(f"no difference in {compared} on {count_of(part.connections, 'connection')}")
    else:
        console.say(
            f"connection {difference.connection}, answer {player.compared}, to: {difference.sent or 'connecting'}",
            f"  was: {difference.expected}",
            f"  is:  {difference.found}",
        )
    return DONE if difference is None else NOT_PASSED


def _read(path: str, of: str | None) -> Part:
    with disk_errors(f"cannot read {escape(path)}"):
        lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    try:
        return choose_part(parse_transcript(lines), of)
    except MalformedLine as error:
        raise UsageError(f"{escape(path)}: {error}") from None
