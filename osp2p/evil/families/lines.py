"""Lines: commands to a tracker that are too long, never end, come in bits, or hold what no text holds."""

from __future__ import annotations

import trio

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack
from osp2p.evil.words import quote_all

_MIB = 1024 * 1024

#: Lengths of names that brought down programs of 2007 to 2016.
LONG_NAMES = (270, 512, 1025, 2047, 2048, 4090, 4096, 8193, 10_249)


@attack("lines/overlong", against="tracker", breaks="max_line", expect="closed", within=10)
async def send_an_overlong_line(target: Target) -> None:
    """Sends a command of a megabyte without an end of line."""
    wire = await target.greet()
    await wire.send(b"HAVE " + b"a" * _MIB)
    await wire.hold()


@attack("lines/overlong-complete", against="tracker", breaks="max_line", expect="closed", within=10)
async def send_an_overlong_complete_line(target: Target) -> None:
    """Sends a line one byte over the limit with its end behind it, all in one packet, and a good command after it:
    a limit binds what is complete as well as what is not."""
    wire = await target.greet()
    await wire.send(b"MD5SUM " + b"a" * (target.limits.max_line - 6) + b"\nHELP\n")
    answers = 0
    while (answer := await wire.read_answer()) is not None:
        target.check(answer.code >= 300, "takes a line that is over the limit")
        answers += 1
    target.check(answers <= 1, "goes on behind a line that is over the limit")


@attack("lines/endless", against="tracker", breaks="max_line", expect="closed", within=30)
async def send_without_end(target: Target) -> None:
    """Sends bytes and never a line end, for as long as they are taken."""
    wire = await target.greet()
    while True:
        await wire.send(b"a" * 65536)


@attack("lines/drip", against="tracker", breaks="line_timeout", expect="out-waited", within=75)
async def drip_a_line(target: Target) -> None:
    """Sends one byte of a line every half second, with a CR now and then, and never ends it."""
    wire = await target.greet()
    for number in range(4000):
        await wire.send(b"\r" if number % 100 == 99 else b"a")
        await trio.sleep(0.5)


@attack("lines/bytewise", against="tracker", breaks="many packets may bring one command", expect="survived", within=30)
async def send_byte_by_byte(target: Target) -> None:
    """Registers and asks in packets of one byte each; every command must be answered as if it had come whole."""
    wire = await target.greet()
    said = b"ADDR slow %s:9\r\nHAVE bytewise\r\nWANT bytewise\nWHO\nQUIT\n" % wire.local_host.encode()
    for value in said:
        await wire.send(bytes([value]))
        await trio.lowlevel.checkpoint()
    codes = []
    while (answer := await wire.read_answer()) is not None:
        codes.append(answer.code // 100)
    target.check(codes == [2] * 5, "answers commands that come byte by byte otherwise than whole ones")


@attack("lines/packed", against="tracker", breaks="one packet may bring many commands", expect="survived", within=30)
async def send_many_at_once(target: Target) -> None:
    """Sends ten thousand commands as fast as they are taken; each must be answered, in order."""
    wire = await target.greet()
    answers = await wire.ask_all(
        [b"MD5SUM packed%d" % number if number % 2 else b"WHO x" for number in range(10_000)], 500
    )
    codes = [answer.code for answer in answers]
    target.check(codes == [500, 300] * 5000, "answers commands that come packed otherwise than single ones")


@attack("lines/blank", against="tracker", breaks="a blank line has no answer", expect="survived", within=30)
async def send_blank_lines(target: Target) -> None:
    """Sends a hundred thousand blank lines of every kind of white space, then one command: one answer is due."""
    wire = await target.greet()
    for _ in range(100):
        await wire.send(b"\n\r\n \n\t\x0b\n   \r\n" * 200)
    answer = await wire.ask(b"MD5SUM nothing")
    target.check(answer.code in (300, 500) and not answer.data, "answers blank lines")


@attack("lines/bytes", against="tracker", breaks="names, aliases and verbs are bytes", expect="survived", within=10)
async def send_every_byte(target: Target) -> None:
    """Registers names that hold every byte, raw and quoted, line ends and NULs among them, and looks whether one line
    of the list stays one line."""
    wire = await target.log_in(b"x%0AFILE%20injected")
    said = [b"HAVE a%%%02Xb" % value for value in range(256)]
    said += [b"HAVE a%cb" % value for value in range(256) if value not in b"\n\r\t\x0b\x0c "]
    await wire.ask_all(said, 1)
    listed = await wire.expect(b"LIST", 2)
    target.check(all(line.startswith(b"FILE ") for line in listed.data), "lists what is no FILE line")
    target.check(b"FILE injected" not in listed.data, "lists a file that came in an alias")


@attack("lines/nuls", against="tracker", breaks="names, aliases and verbs are bytes", expect="refused", within=10)
async def send_nuls(target: Target) -> None:
    """Sends 1030 NULs as a verb, as a name, raw and quoted, and as an alias."""
    wire = await target.greet()
    for line in (b"\0" * 1030, b"ADDR %s 127.0.0.1:9" % (b"\0" * 1030), b"ADDR %s 127.0.0.1:9" % (b"%00" * 1030)):
        await wire.expect(line, 3, 5)
    await wire.expect(b"ADDR nuls %s:9" % wire.local_host.encode(), 2)
    for line in (b"HAVE " + b"\0" * 1030, b"HAVE " + b"%00" * 1030):
        await wire.expect(line, 3, 5)


@attack("lines/percent", against="tracker", breaks="max_name", expect="survived", within=10)
async def send_percent_signs(target: Target) -> None:
    """Registers names of nothing but %XX, of percent signs that stand for themselves, and of half escapes; what is
    listed must be what was registered."""
    wire = await target.log_in(b"percent")
    names = [quote_all(target.rng.randbytes(200).replace(b"\0", b"x").replace(b"/", b"y")) for _ in range(20)]
    await wire.ask_all([b"HAVE " + name for name in names])
    await wire.ask_all([b"HAVE " + name for name in (b"%", b"%%", b"%4", b"%zz%%41%", b"%25%34%31", b"%" * 900)], 1)
    for name in (b"%25", b"%4", b"%2541"):
        await wire.expect(b"WANT " + name, 2)
    await wire.expect(b"LIST", 2)


@attack("lines/long-names", against="tracker", breaks="max_name, max_line", expect="refused", within=20)
async def register_long_names(target: Target) -> None:
    """Registers names of 270 to 10,249 bytes, each from a connection of its own; each must be refused, or the
    connection closed: no file can have such a name."""
    for length in LONG_NAMES:
        wire = await target.log_in(b"long%d" % length)
        await wire.send(b"HAVE " + b"n" * length + b"\n")
        answer = await wire.read_answer()
        target.check(answer is None or answer.code >= 300, f"registers a name of {length} bytes")
        wire.close()


@attack("lines/name-at-limit", against="tracker", breaks="max_name", expect="refused", within=10)
async def register_beyond_the_limit(target: Target) -> None:
    """Registers a name of many directories that is one byte over the limit, though every component is short."""
    wire = await target.log_in(b"deep")
    name = b"d/" * target.limits.max_name
    await wire.expect(b"HAVE " + name[: target.limits.max_name], 2, 3, 5)
    await wire.expect(b"HAVE " + (b"x" + name)[: target.limits.max_name + 1], 3, 5)
