"""Malformed: commands to a tracker that have the wrong words, by the dozen. Each is refused; none is more than that."""

from __future__ import annotations

from osp2p.evil.encounter import Target
from osp2p.evil.registry import attack

_COMMANDS = (
    b"NONSENSE",
    b"GET x OSP2P",
    b"GET / HTTP/1.1",
    b"ADDR",
    b"ADDR x",
    b"ADDR x 127.0.0.1:9 y",
    b"HAVE",
    b"HAVE a b c",
    b"DONTHAVE",
    b"DONTHAVE a b",
    b"WANT",
    b"WANT a b",
    b"LIST a",
    b"WHO a",
    b"MD5SUM",
    b"MD5SUM a b",
    b"CHECKPEER",
    b"CHECKPEER a",
    b"CHECKPEER a b",
    b"NOTIFY a",
    b"NONOTIFY a",
    b"BLOCKNOTIFY a",
    b"HELP me",
    b"%48ELP",
    b"HELP\0",
    b"CHECKUPLOAD cat3.jpg successful!",
    b"200 ok",
    b"FILE x",
    b"PEER x 1.2.3.4:5",
    b"\xff\xfe\xfd",
    b"a" * 4000,
    b" ".join([b"a"] * 2000),
)

_ADDRESSES = (
    b"127.0.0.1",
    b"127.0.0.1:",
    b":9",
    b"127.0.0.1:0",
    b"127.0.0.1:65536",
    b"127.0.0.1:99999999999999999999",
    b"127.0.0.1:-1",
    b"127.0.0.1:+9",
    b"127.0.0.1:9x",
    b"127.0.0.1:\xd9\xa1",
    b"0.0.0.0:9",
    b"256.1.1.1:9",
    b"1.2.3:9",
    b"1.2.3.4.5:9",
    b"localhost:9",
    b"%31%32%37.0.0.1:%30",
    b"127.0.0.1:9:9",
    b"[::1:9",
    b"::1:9",
)

_CHECKSUMS = (b"", b"a", b"a" * 21, b"a" * 23, b"a" * 21 + b"e", b"a" * 20 + b"-a", b"0" * 32, b"%61" * 22 + b"z")

_ATTRIBUTES = (
    b"HAVE x size=",
    b"HAVE x size=-1",
    b"HAVE x size=1e9",
    b"HAVE x size=99999999999999999999999",
    b"HAVE x size=1 size=1",
    b"HAVE x b3=",
    b"HAVE x b3=" + b"0" * 63,
    b"HAVE x b3=" + b"G" * 64,
    b"HAVE x b3=" + b"A" * 64,
    b"HAVE x part=maybe",
    b"HAVE x =1",
    b"HAVE x Size=1",
    b"HAVE size=1 x",
    b"WANT b3=zz",
    b"WANT x max=-1",
    b"WANT x max=many",
    b"WANT max=1",
    b"STAT",
    b"STAT x y",
    b"LIST max=x",
    b"LIST max=%31%30%x",
    b"HELLO OSP2P/2 again=1 again=1",
    b"HELLO",
)

#: What no file of a shared directory is called, or must not be written to.
ESCAPES = (
    b"../x",
    b"..%2Fx",
    b"..%2fx",
    b"%2E%2E%2Fx",
    b"a/../../x",
    b"/etc/passwd",
    b"%2Fetc%2Fpasswd",
    b".../...//",
    b"/////////dev/zero",
    b"//dev/zero",
    b".",
    b"..",
    b"./x",
    b"x/.",
    b"x/..",
    b"x//y",
    b"x/",
    b"%00",
    b"x%00.txt",
)


@attack(
    "malformed/commands", against="tracker", breaks="what is malformed is answered 500", expect="refused", within=20
)
async def send_malformed_commands(target: Target) -> None:
    """Sends three dozen lines with unknown verbs or the wrong number of words; each must be refused, or answered
    where a harmless meaning can be found, and the connection must go on."""
    wire = await target.greet()
    for line in _COMMANDS:
        answer = await wire.ask(line)
        target.check(answer.code >= 300 or not answer.data, f"finds a meaning in {line[:30]!r}")
    await wire.expect(b"LIST", 2)


@attack("malformed/addresses", against="tracker", breaks="PEER lines can be parsed", expect="refused", within=20)
async def register_bad_addresses(target: Target) -> None:
    """Registers at addresses that are none: no port, port 0, port 99999999999999999999, names, digits of other
    scripts. A line that peers cannot parse would end the old ones."""
    wire = await target.greet()
    for address in _ADDRESSES:
        await wire.expect(b"ADDR evil " + address, 3, 5)
    answer = await wire.expect(b"WHO", 2)
    target.check(not any(line.startswith(b"PEER evil ") for line in answer.data), "lists a peer without an address")


@attack("malformed/checksums", against="tracker", breaks="a checksum has 22 characters", expect="refused", within=20)
async def register_bad_checksums(target: Target) -> None:
    """Registers files with checksums of the wrong length or alphabet; nothing of them may be registered."""
    wire = await target.log_in(b"checksums")
    name = b"sum%08x" % target.rng.getrandbits(32)
    for checksum in _CHECKSUMS[1:]:
        await wire.expect(b"HAVE %s %s" % (name, checksum), 3, 5)
    await wire.expect(b"MD5SUM " + name, 3)
    await wire.expect(b"WANT " + name, 3)


@attack(
    "malformed/attributes",
    against="tracker",
    breaks="attributes are key=value, each key once",
    expect="refused",
    within=20,
)
async def send_bad_attributes(target: Target) -> None:
    """Says HELLO and sends two dozen commands with attributes that are malformed, repeated, negative or absurd."""
    wire = await target.log_in(b"attributes", hello=True)
    for line in _ATTRIBUTES:
        await wire.expect(line, 3, 5)
    await wire.expect(b"WANT x", 3)


@attack("malformed/escapes", against="tracker", breaks="a name stays inside a directory", expect="refused", within=20)
async def register_escapes(target: Target) -> None:
    """Registers names that lead out of a directory, absolute, empty or with NULs, raw and quoted: whoever fetches
    everything would write there."""
    wire = await target.log_in(b"escapes")
    for name in ESCAPES:
        await wire.expect(b"HAVE " + name, 3, 5)
    listed = await wire.expect(b"LIST", 2)
    target.check(not any(b".." in line or b"etc" in line for line in listed.data), "lists a name that leads outside")


@attack("malformed/order", against="tracker", breaks="ADDR comes before HAVE, and once", expect="refused", within=20)
async def say_things_out_of_order(target: Target) -> None:
    """Registers before ADDR, says ADDR twice, HELLO late and twice, and withdraws what it never had."""
    wire = await target.greet()
    name = b"early%08x" % target.rng.getrandbits(32)
    await wire.expect(b"HAVE " + name, 3)
    await wire.expect(b"NOTIFY", 3)
    await wire.expect(b"HELLO OSP2P/2", 3, 5)
    await wire.expect(b"ADDR once %s:9" % wire.local_host.encode(), 2)
    await wire.expect(b"ADDR twice %s:10" % wire.local_host.encode(), 3)
    await wire.expect(b"DONTHAVE " + name, 2, 3)
    await wire.expect(b"WANT " + name, 3)
