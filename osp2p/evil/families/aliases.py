"""Aliases: what a peer calls itself is shown to everybody else."""

from __future__ import annotations

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.words import b3_of, quote_all

#: The longest line that buffers of 2007 take.
_OLD_BUFFER = 4096


@attack("aliases/newline", against="tracker", breaks="one line stays one line", expect="survived", within=10)
async def put_lines_into_an_alias(target: Target) -> None:
    """Registers under an alias with quoted line ends behind which further answers stand: a PEER line for another
    host, a FILE line, a terminator. Nobody who asks may be given those lines."""
    wire = await target.log_in(b"evil%0APEER%20x%2010.9.9.9:9%0AFILE%20injected%0A200%20ok%0A")
    await wire.ask(b"HAVE newline")
    for line in (b"WHO", b"WANT newline", b"LIST"):
        answer = await wire.expect(line, 2)
        for shown in answer.data:
            target.check(shown.split(b" ")[0] in (b"PEER", b"FILE"), "shows a line that came in an alias")
            target.check(b"10.9.9.9:9" not in shown.split(), "shows a peer that came in an alias")
            target.check(shown != b"FILE injected", "shows a file that came in an alias")
    answer = await wire.ask(b"WHO")
    target.check(answer.code == 200 and answer.last != b"200 ok", "ends an answer where an alias says so")


@attack("aliases/terminator", against="tracker", breaks="one line stays one line", expect="survived", within=10)
async def look_like_a_terminator(target: Target) -> None:
    """Registers under aliases that look like terminators and context lines, quoted CR and LF before them, so that a
    reader that looks at the end of what it has received takes them for the answer's end."""
    wires = [
        await target.log_in(alias) for alias in (b"200%20ok", b"%0D200%20ok", b"200-%20more", b"%0A500%20no", b"200")
    ]
    answer = await wires[0].expect(b"WHO", 2)
    target.check(
        all(line.startswith(b"PEER ") and len(line.split()) == 3 for line in answer.data), "shows what is no PEER line"
    )


@attack("aliases/long", against="tracker", breaks="max_alias", expect="refused", within=10)
async def have_a_long_alias(target: Target) -> None:
    """Registers under an alias one byte over the limit, raw and as %XX."""
    wire = await target.greet()
    for length in (target.limits.max_alias + 1, target.limits.max_alias + 1000):
        await wire.expect(b"ADDR %s %s:9" % (b"a" * length, wire.local_host.encode()), 3, 5)


@attack("aliases/longest", against="tracker", breaks="max_base_peer_line, max_alias", expect="survived", within=20)
async def have_the_longest_alias(target: Target) -> None:
    """Registers ten holders of one file under the longest alias that is taken, of bytes that take three when quoted:
    lines that old peers' buffers do not hold."""
    name = b"aliases%08x" % target.rng.getrandbits(32)
    alias = quote_all(bytes([255]) * ((target.limits.max_line - 60) // 3))
    for number in range(10):
        wire = await target.log_in(alias[: 3 * min(len(alias) // 3, target.limits.max_alias)], 1000 + number)
        await wire.expect(b"HAVE " + name, 2)
    asker = await target.greet()
    for line in (b"WHO", b"WANT " + name):
        answer = await asker.expect(line, 2)
        longest = max((len(shown) for shown in answer.data), default=0)
        target.check(longest <= target.limits.max_base_peer_line, f"shows an old client a line of {longest} bytes")
        size = sum(len(shown) + 1 for shown in answer.data)
        target.check(size < _OLD_BUFFER, f"answers an old client with {size} bytes")


@attack("aliases/longest-hello", against="tracker", breaks="max_hello_peer_line", expect="survived", within=20)
async def have_the_longest_alias_after_hello(target: Target) -> None:
    """Registers a holder under the longest alias after HELLO, with a name of a thousand bytes that take three each;
    a PEER line with all its attributes must still be a line."""
    alias = quote_all(bytes([255]) * min(target.limits.max_alias, (target.limits.max_line - 60) // 3))
    name = quote_all(b"n" * 250 + b"/" + target.rng.randbytes(200).replace(b"\0", b"x").replace(b"/", b"y"))
    wire = await target.log_in(alias, 1000, hello=True)
    b3 = b3_of(name)
    await wire.expect(b"HAVE %s size=9 b3=%s" % (name, b3), 2, 5)
    for line in (b"WHO", b"WANT " + name, b"WANT b3=" + b3):
        answer = await wire.ask(line)
        longest = max((len(shown) for shown in answer.data), default=0)
        target.check(longest <= target.limits.max_line, f"shows a line of {longest} bytes")


@attack(
    "aliases/terminal",
    against="tracker",
    breaks="what strangers send is not shown as it came",
    expect="survived",
    within=10,
)
async def put_control_bytes_into_an_alias(target: Target) -> None:
    """Registers an alias and a file name of control bytes that clear a terminal and set its title."""
    wire = await target.log_in(b"\x1bc\x1b[2J\x1b]0;owned\x07")
    await wire.ask(b"HAVE \x1b[2J\x9b31m")
    for line in (b"WHO", b"LIST"):
        answer = await wire.expect(line, 2)
        target.check(not any(byte < 32 or byte > 126 for shown in answer.data for byte in shown), "shows control bytes")
