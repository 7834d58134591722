"""Paths: asking an uploader for what lies outside the directory that it shares, or is no file."""

from __future__ import annotations

from collections.abc import Iterable

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.words import quote, quote_all

_OUTSIDE = (
    b"../x",
    b"../../../../../../etc/passwd",
    b"..%2Fx",
    b"..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
    b"%2E%2E%2F%2E%2E%2F%2E%2E%2F%2E%2E%2F%2E%2E%2Fetc%2Fpasswd",
    b"..%252F..%252F..%252Fetc%252Fpasswd",
    b".../...//",
    b"....//....//....//etc/passwd",
    b"a/../../../../../../../etc/passwd",
    b"./../../../../../../etc/passwd",
    b"..\\..\\..\\etc\\passwd",
    b"../../../../../../etc/passwd%00.jpg",
    b"..",
    b"../",
    b"%2E%2E",
)

_ABSOLUTE = (
    b"/etc/passwd",
    b"%2Fetc%2Fpasswd",
    b"%2fetc%2fpasswd",
    b"//etc/passwd",
    b"file:///etc/passwd",
    b"/proc/self/environ",
    b"/proc/self/cmdline",
    b"/proc/self/fd/0",
    b"/proc/self/cwd/x",
    b"~/.ssh/id_rsa",
    b"~root/x",
    b"$HOME/.profile",
    b"`id`",
    b"$(id)",
    b"|id",
)

_DEVICES = (
    b"/////////dev/zero",
    b"/dev/zero",
    b"/dev/urandom",
    b"/dev/stdin",
    b"/dev/tty",
    b"/dev/null",
    b"/dev/full",
    b"%2Fdev%2Fzero",
    b"../../../../../../../dev/zero",
    b"CON",
    b"NUL",
    b"COM1",
    b"fifo",
    b"pipe",
    b"socket",
)

_HIDDEN = (
    b".",
    b"./",
    b"",
    b"/",
    b".git/config",
    b".bashrc",
    b".ssh/id_rsa",
    b".osp2p-part",
    b".x.osp2p-part",
    b".x.osp2p-journal",
    b"x~",
    b"*",
    b"?",
    b"[a-z]*",
)


async def _ask(target: Target, words: Iterable[bytes]) -> None:
    """Ask for each, on a connection of its own; each must be closed without a byte."""
    for word in words:
        wire = await target.connect()
        await wire.send(b"GET %s OSP2P\n" % word)
        await wire.half_close()
        await wire.expect_nothing()
        wire.close()


@attack(
    "paths/outside", against="uploader", breaks="a name stays inside the shared directory", expect="refused", within=20
)
async def ask_for_what_is_outside(target: Target) -> None:
    """Asks for names that climb out of the shared directory, raw, quoted, quoted twice, with turned strokes and with
    NULs; each must be closed without a byte."""
    await _ask(target, _OUTSIDE)


@attack(
    "paths/absolute", against="uploader", breaks="a name stays inside the shared directory", expect="refused", within=20
)
async def ask_for_absolute_paths(target: Target) -> None:
    """Asks for absolute paths, raw and quoted, for what shells would expand, and for the uploader's own memory and
    environment below /proc."""
    await _ask(target, _ABSOLUTE)


@attack("paths/devices", against="uploader", breaks="only regular files are shared", expect="refused", within=30)
async def ask_for_devices(target: Target) -> None:
    """Asks for devices, which never end or never begin, by many paths, and for names that a FIFO or a socket in the
    directory may have: to open one would block."""
    await _ask(target, _DEVICES)


@attack(
    "paths/hidden", against="uploader", breaks="hidden and unfinished files are not shared", expect="refused", within=20
)
async def ask_for_hidden_files(target: Target) -> None:
    """Asks for the directory itself, for dotfiles, editors' backups and partial downloads, and for patterns."""
    await _ask(target, _HIDDEN)


@attack(
    "paths/planted", against="uploader", breaks="a name stays inside the shared directory", expect="refused", within=30
)
async def ask_for_what_was_planted(target: Target) -> None:
    """Asks for files that are known to lie on the uploader's disk and not to be shared: behind a symbolic link, in a
    directory whose name begins like the shared one's, a FIFO; by their names, by paths through the name of a shared
    file, and quoted throughout."""
    inside = target.name or b"x"
    for name in target.forbidden:
        await _ask(target, (quote(name), quote_all(name), name.replace(b" ", b"%20"), b"./" + quote(name)))
        await _ask(target, (quote(inside) + b"/../" + quote(name), quote_all(inside + b"/../" + name)))


@attack(
    "paths/session", against="uploader", breaks="a name stays inside the shared directory", expect="refused", within=30
)
async def ask_in_a_session(target: Target) -> None:
    """Says HELLO and asks for all of that by GET, STAT, CHUNKS and LIST; everything must be refused, and the list
    hold nothing that leads outside."""
    wire = await target.session()
    for word in (*_OUTSIDE, *_ABSOLUTE, *_DEVICES, *_HIDDEN[:2], *(quote(name) for name in target.forbidden)):
        for line in (b"GET %s OSP2P/2", b"GET %s OSP2P/2 range=0-99", b"STAT %s", b"CHUNKS %s"):
            await wire.expect(line % word, 3, 5)
    listed = await wire.expect(b"LIST", 2)
    for line in listed.data:
        _, _, name = line.partition(b" ")
        target.check(not name.startswith((b".", b"/")) and b"..%2F" not in name, f"lists {name[:60]!r}")
    for prefix in (b"../", b"/", b"%2Fetc", b"."):
        answer = await wire.ask(b"LIST prefix=" + prefix)
        target.check(not answer.data, "lists what is outside")
