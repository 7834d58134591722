"""XML-RPC over HTTP: standard clients call any node through their own, and browsers do not."""

from __future__ import annotations

import shutil
import subprocess
import xmlrpc.client
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from osp2p.errors import Fault
from osp2p.limits import Limits
from osp2p.net import MemoryNetwork, TcpNetwork
from osp2p.rpc.calls import wall_clock
from osp2p.rpc.directory import MemoryDirectory
from osp2p.rpc.document import NO_SUCH_METHOD, NOT_REACHED, parse_response, write_call
from osp2p.rpc.handler import Context
from tests.rpc.nodes import Clock, Peer, open_peer

Networks = list[MemoryNetwork]

BODY = write_call("clock.add", [2, 3])


def post(body: bytes = BODY, path: str = "/RPC2", version: str = "1.1", **headers: str | None) -> bytes:
    """A request; a header of None is left out."""
    fields = {"Host": "127.0.0.1:11112", "Content-Type": "text/xml", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-").title(): value for name, value in headers.items() if value is not None}
    left_out = {name.replace("_", "-").title() for name, value in headers.items() if value is None}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if name not in left_out)
    return f"POST {path} HTTP/{version}\r\n{head}\r\n".encode() + body


async def ask(network: MemoryNetwork, peer: Peer, request: bytes, *, by_bytes: bool = False) -> tuple[int, bytes]:
    """Send one request. Returns: the status, and the body."""
    connection = await network.connect(peer.where.host, peer.where.port)
    try:
        for piece in [request[at : at + 1] for at in range(len(request))] if by_bytes else [request]:
            await connection.send(piece)
        heard = b""
        while b"\r\n\r\n" not in heard:
            data = await connection.receive(65536)
            assert data, heard
            heard += data
        head, _, body = heard.partition(b"\r\n\r\n")
        length = int(
            next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")).split()[1]
        )
        while len(body) < length:
            body += await connection.receive(65536)
        return int(head.split()[1]), body
    finally:
        connection.close()


@pytest.fixture
def loopback() -> MemoryNetwork:
    return MemoryNetwork("127.0.0.1")


# --- what is no call ---


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (post(), 200),
        (post(path="/"), 200),
        (post(host="localhost"), 200),
        (post(host="[::1]:80"), 200),
        (post(content_type="text/xml; charset=utf-8"), 200),
        (post(version="1.0", host=None), 200),
        (post(origin="http://evil.example"), 403),
        (post(origin="null"), 403),
        (post(sec_fetch_site="cross-site"), 403),
        (post(host="evil.example"), 403),
        (post(host="evil.example:11112"), 403),
        (post(host="localhost.evil.example"), 403),
        (post(host="127.0.0.1.evil.example"), 403),
        (post(host="192.0.2.1"), 403),
        (post(host=""), 403),
        (post(host=None), 400),
        (post(content_type="text/plain"), 415),
        (post(content_type="application/x-www-form-urlencoded"), 415),
        (post(content_type=None), 415),
        (post(content_encoding="gzip"), 415),
        (post(path="/other"), 404),
        (post().replace(b"POST", b"GET", 1), 405),
        (post().replace(b"POST", b"OPTIONS", 1), 405),
        (post(content_length="99999999"), 413),
        (post(content_length="-1"), 400),
        (post(content_length="5, 6"), 400),
        (post(x="y" * 20_000), 431),
        (b"POST /RPC2 HTTP/1.1\r\nnonsense\r\n\r\n", 400),
    ],
)
async def test_only_calls_of_programs_are_taken(
    autojump_clock: MockClock, loopback: MemoryNetwork, request_: bytes, status: int
) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        got, body = await ask(loopback, peer, request_)
        assert got == status
        if status == 200:
            assert parse_response(body) == 5


async def test_other_machines_are_refused_unless_they_are_let_in(autojump_clock: MockClock, networks: Networks) -> None:
    async with open_peer(networks[0], clock=Clock()) as peer:
        assert (await ask(networks[1], peer, post()))[0] == 403
    async with open_peer(networks[0], clock=Clock(), anywhere=True) as peer:
        assert (await ask(networks[1], peer, post(host="10.0.0.1:5")))[0] == 200
        assert (await ask(networks[1], peer, post(host="evil.example")))[0] == 403
        assert (await ask(networks[1], peer, post(origin="http://10.0.0.1")))[0] == 403


class Doorman:
    """Knows where callers come from."""

    async def who(self, context: Context) -> str:
        return "nobody" if context.remote is None else context.remote.host


@pytest.mark.parametrize(
    "path", ["doorman.who", "ADDRESS.doorman.who", "UPPER.doorman.who", "multicall", "ADDRESS.multicall"]
)
async def test_another_machine_is_one_by_whatever_name_it_calls(
    autojump_clock: MockClock, networks: Networks, path: str
) -> None:
    """Else whoever says the node's own address would seem to be a program of its machine, and have all threads."""
    async with open_peer(networks[0], doorman=Doorman(), anywhere=True) as peer:
        path = path.replace("ADDRESS", peer.calls.address).replace("UPPER", peer.calls.address.upper())
        if path.endswith("multicall"):
            own = f"{peer.calls.address}.doorman.who" if path == "multicall" else "doorman.who"
            document = write_call(path.replace("multicall", "system.multicall"), [[{"methodName": own, "params": []}]])
            there: object = [[networks[1].address]]
        else:
            document, there = write_call(path, []), networks[1].address
        status, body = await ask(networks[1], peer, post(document, host="10.0.0.1:5"))
        assert (status, parse_response(body)) == (200, there)


async def test_no_other_machine_takes_all_calls(autojump_clock: MockClock, networks: Networks) -> None:
    limits = Limits(max_calls=4, max_calls_per_host=2)
    wait = post(write_call("clock.wait", [5]), host="10.0.0.1")
    async with (
        open_peer(networks[0], clock=Clock(), anywhere=True, limits=limits) as peer,
        trio.open_nursery() as nursery,
    ):
        for _ in range(2):
            nursery.start_soon(ask, networks[1], peer, wait)
        await trio.sleep(1)
        assert (await ask(networks[1], peer, post(host="10.0.0.1")))[0] == 503
        assert (await ask(networks[2], peer, post(host="10.0.0.1")))[0] == 200
        await trio.sleep(5)
        assert (await ask(networks[1], peer, post(host="10.0.0.1")))[0] == 200


async def test_requests_may_come_byte_by_byte_and_in_chunks(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        assert (await ask(loopback, peer, post(), by_bytes=True))[0] == 200
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
        chunked = post(content_length=None, transfer_encoding="chunked").removesuffix(BODY) + chunks
        assert parse_response((await ask(loopback, peer, chunked))[1]) == 5
        flood = post(content_length=None, transfer_encoding="chunked").removesuffix(BODY)
        flood += b"40000\r\n%s\r\n" % bytes(0x40000) * 5
        connection = await loopback.connect(peer.where.host, peer.where.port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.send, flood)
            heard = await connection.receive(65536)
            assert b" 413 " in heard
            nursery.cancel_scope.cancel()
        connection.close()


async def test_many_requests_go_over_one_connection(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post() * 3)
        heard = b""
        while heard.count(b"</methodResponse>") < 3:
            heard += await connection.receive(65536)
        await trio.sleep(100)
        await connection.send(post(connection="close"))
        while data := await connection.receive(65536):
            heard += data
        assert heard.count(b"HTTP/1.1 200") == 4
        connection.close()


async def test_who_waits_to_be_asked_for_the_body_is_asked(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post(expect="100-continue").removesuffix(BODY))
        assert b"100" in await connection.receive(65536)
        await connection.send(BODY)
        assert b"200" in await connection.receive(65536)
        connection.close()


async def test_whoever_asks_for_the_head_alone_gets_no_body(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post(content_length=None).removesuffix(BODY).replace(b"POST", b"HEAD", 1))
        heard = b""
        while data := await connection.receive(65536):
            heard += data
        assert heard.startswith(b"HTTP/1.1 405 ")
        assert heard.endswith(b"\r\n\r\n")
        connection.close()


async def test_documents_that_are_on_their_way_are_bounded_all_together(
    autojump_clock: MockClock, loopback: MemoryNetwork
) -> None:
    limits = Limits(max_call_bytes=4 * len(BODY) - 2)  # for one source half of it
    async with open_peer(loopback, clock=Clock(), limits=limits) as peer:
        assert [(await ask(loopback, peer, post()))[0] for _ in range(3)] == [200] * 3
        slow = await loopback.connect(peer.where.host, peer.where.port)
        await slow.send(post(content_length=str(len(BODY) + 1)))
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(loopback, peer, post()))[0] == 503
        slow.close()
        await trio.testing.wait_all_tasks_blocked()
        assert (await ask(loopback, peer, post()))[0] == 200


async def test_a_call_that_takes_too_long_is_no_missing_method(
    autojump_clock: MockClock, loopback: MemoryNetwork
) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        _, body = await ask(loopback, peer, post(write_call("clock.wait", [3600])))
        with pytest.raises(Fault, match="not done within 300 s") as fault:
            parse_response(body)
        assert fault.value.code == NOT_REACHED


async def test_a_dripper_is_dropped(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback, clock=Clock()) as peer:
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post()[:-1])
        assert await connection.receive(65536) == b""
        assert 10 < trio.current_time() < 60
        connection.close()


async def test_a_client_that_leaves_cancels_its_call(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    clock = Clock()
    async with open_peer(loopback, clock=clock) as peer:
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post(write_call("clock.wait", [3600])))
        await clock.began.wait()
        connection.close()
        await clock.cancelled.wait()
        assert trio.current_time() < 1


async def test_a_node_without_calls_speaks_no_http(autojump_clock: MockClock, loopback: MemoryNetwork) -> None:
    async with open_peer(loopback) as peer:
        peer.server.http = None
        connection = await loopback.connect(peer.where.host, peer.where.port)
        await connection.send(post())
        assert await connection.receive(65536) == b""
        connection.close()


# --- standard clients ---


@asynccontextmanager
async def open_pair() -> AsyncIterator[tuple[Peer, Peer]]:
    """On real sockets: a node with a service, and another through which it is called."""
    directory = MemoryDirectory()
    async with (
        open_peer(LoopbackNetwork(), directory, now=wall_clock, clock=Clock()) as callee,
        open_peer(LoopbackNetwork(), directory, now=wall_clock, own=Clock()) as door,
    ):
        yield callee, door


class LoopbackNetwork(TcpNetwork):
    """This machine's loopback alone."""

    def local_addresses(self) -> list[str]:
        return ["127.0.0.1"]


async def in_thread(work: Callable[[], Any]) -> Any:
    return await trio.to_thread.run_sync(work)


async def test_pythons_client() -> None:
    async with open_pair() as (callee, door):
        address = callee.calls.address

        def work() -> None:
            client: Any
            with xmlrpc.client.ServerProxy(f"http://127.0.0.1:{door.where.port}/RPC2", allow_none=True) as client:
                assert client.own.add(2, 3) == 5
                there = getattr(client, address)
                assert there.clock.add(2, 3) == 5
                value = ["ä", {"a": [1, 2.5, True, None]}]
                assert there.clock.echo(value) == value
                assert there.clock.whoami() == door.calls.address
                assert "own.add" in client.system.listMethods()
                assert "clock.add" in there.system.listMethods()
                assert client.system.methodHelp("own.add") == "Add two numbers."
                many = xmlrpc.client.MultiCall(client)
                many.own.add(1, 2)
                getattr(many, address).clock.add(3, 4)
                many.own.nothing()
                results = many()
                assert (results[0], results[1]) == (3, 7)
                with pytest.raises(xmlrpc.client.Fault):
                    results[2]
                nowhere = getattr(client, "ab" * 20)
                for method, arguments, code in (
                    (there.clock.fail, ["no"], -32500),
                    (there.clock.nothing, [], NO_SUCH_METHOD),
                    (client.nothing.add, [], NO_SUCH_METHOD),
                    (client.nothing, [], NO_SUCH_METHOD),
                    (nowhere.clock.add, [1], NOT_REACHED),
                ):
                    with pytest.raises(xmlrpc.client.Fault) as caught:
                        method(*arguments)
                    assert caught.value.faultCode == code, caught.value

        await in_thread(work)


@pytest.mark.skipif(shutil.which("xmlrpc") is None, reason="Debian's libxmlrpc-core-c3-dev is not installed")
async def test_the_c_librarys_client() -> None:
    async with open_pair() as (callee, door):
        command = [
            "xmlrpc",
            f"http://127.0.0.1:{door.where.port}/RPC2",
            f"{callee.calls.address}.clock.add",
            "i/2",
            "i/3",
        ]
        done = await in_thread(lambda: subprocess.run(command, capture_output=True, text=True, timeout=20, check=False))
        assert done.returncode == 0, done
        assert "5" in done.stdout.split()[-1]


PERL = """
use XMLRPC::Lite;
my ($url, $address) = @ARGV;
my $client = XMLRPC::Lite->proxy($url);
print $client->call("$address.clock.add", 2, 3)->result, "\\n";
my $fault = $client->call("$address.clock.fail", "not today");
print $fault->faultcode, " ", $fault->faultstring, "\\n";
"""


def has_perl_client() -> bool:
    command = ["perl", "-MXMLRPC::Lite", "-e", "1"]
    return (
        shutil.which("perl") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not has_perl_client(), reason="Debian's libxmlrpc-lite-perl is not installed")
async def test_perls_client() -> None:
    async with open_pair() as (callee, door):
        command = ["perl", "-e", PERL, f"http://127.0.0.1:{door.where.port}/RPC2", callee.calls.address]
        done = await in_thread(lambda: subprocess.run(command, capture_output=True, text=True, timeout=20, check=False))
        assert done.stdout == "5\n-32500 ValueError: not today\n", done
