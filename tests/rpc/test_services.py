"""What can be called of a handler, what every service answers, and how failures are told."""

from __future__ import annotations

import math
import threading
import types
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Optional

import pytest
import trio

from osp2p.errors import CallTimedOut, Fault, LocalProtocolError, Refused
from osp2p.limits import Limits
from osp2p.rpc.document import FAILED, INTERNAL_ERROR, INVALID_ARGUMENTS, NO_SUCH_METHOD, NOT_REACHED
from osp2p.rpc.handler import Context, Method, fits
from osp2p.rpc.services import Services, fault_of
from osp2p.rpc.tally import Tally

ADDRESS = "ab" * 20
CONTEXT = Context("cd" * 20, "a.b", math.inf)


class Calculator:
    """Reckons."""

    constant = 5

    def add(self, a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    async def slow(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def thread(self) -> str:
        return threading.current_thread().name

    @staticmethod
    def half(number: float) -> float:
        return number / 2

    @classmethod
    def name(cls) -> str:
        return cls.__name__

    @property
    def expensive(self) -> int:
        raise AssertionError("nobody asks for this")

    def _private(self) -> None:
        """Not to be called."""

    def private_(self) -> None:
        """Likewise."""

    def sum(self, context: Context, *numbers: int) -> str:
        return f"{context.caller[:2]} {sum(numbers)}"

    async def caller(self, *, context: Context) -> str:
        return context.caller


@pytest.fixture
def services() -> Services:
    services = Services(ADDRESS, Limits())
    services.add("calc", Calculator(), "1.2")
    return services


async def call(services: Services, path: str, *arguments: Any) -> Any:
    return await services.invoke(path, arguments, CONTEXT)


async def test_public_methods_are_called(services: Services) -> None:
    assert await call(services, "calc.add", 1, 5) == 6
    assert await call(services, "calc.add", 1) == 3
    assert await call(services, "calc.half", 5) == 2.5
    assert await call(services, "calc.name") == "Calculator"
    assert await call(services, "calc.sum", 1, 2, 3) == "cd 6"
    assert await call(services, "calc.sum") == "cd 0"
    assert await call(services, "calc.caller") == "cd" * 20
    assert list(services.service("calc").methods) == [
        *["add", "caller", "half", "name", "slow", "sum", "thread"],
        *["info", "ping", "stats"],
    ]


@pytest.mark.parametrize(
    "path", ["calc._private", "calc.private_", "calc.expensive", "calc.constant", "calc.nothing", "nothing.add", "add"]
)
async def test_nothing_else_is(services: Services, path: str) -> None:
    with pytest.raises(Fault) as fault:
        await call(services, path)
    assert fault.value.code == NO_SUCH_METHOD


async def test_plain_methods_run_beside_the_loop(services: Services) -> None:
    assert await call(services, "calc.thread") != threading.current_thread().name


async def test_a_slow_plain_method_holds_nothing_up() -> None:
    release, running = threading.Event(), threading.Event()

    def block() -> str:
        running.set()
        release.wait(20)
        return "done"

    services = Services(ADDRESS, Limits())
    services.add("slow", {"block": block, "quick": lambda: "quick"}, "1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, services, "slow.block")
        await trio.to_thread.run_sync(running.wait)
        assert await call(services, "slow.quick") == "quick"
        release.set()


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("add", []),
        ("add", [1, 2, 3]),
        ("add", ["1"]),
        ("add", [True]),
        ("add", [1.0]),
        ("add", [None]),
        ("half", ["x"]),
        ("sum", [1, "2"]),
        ("name", [1]),
    ],
)
async def test_arguments_that_do_not_fit_are_told(services: Services, method: str, arguments: list[Any]) -> None:
    with pytest.raises(Fault) as fault:
        await call(services, f"calc.{method}", *arguments)
    assert fault.value.code == INVALID_ARGUMENTS
    assert method in fault.value.text


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, int, True),
        (True, int, False),
        (1, float, True),
        ("", str, True),
        (b"", bytes, True),
        (b"", str, False),
        (None, None, True),
        (None, Optional[int], True),  # noqa: UP045 - both spellings are read
        ("x", int | None, False),
        ([1, 2], list[int], True),
        ([1, "2"], list[int], False),
        ([[1]], list[list[int]], True),
        ([1], Sequence[int], True),
        ("ab", Sequence[str], False),
        ([1], tuple, True),
        ({"a": 1}, dict[str, int], True),
        ({"a": "b"}, dict[str, int], False),
        ({}, list, False),
        (datetime(2026, 1, 1), datetime, True),
        (5, Any, True),
        (5, Context, True),
    ],
)
def test_values_fit_hints(value: Any, hint: Any, fit: bool) -> None:
    assert fits(value, hint) is fit


def test_signatures_and_help_come_from_the_code(services: Services) -> None:
    methods = services.service("calc").methods
    assert methods["add"].signatures == [["int", "int", "int"], ["int", "int"]]
    assert methods["add"].help == "Add two numbers."
    assert methods["half"].signatures == [["double", "double"]]
    assert methods["slow"].signatures == [["nil", "double"]]
    assert methods["caller"].signatures == [["string"]]
    assert methods["stats"].signatures == [["struct"]]
    assert Method("f", lambda a: a).signatures == [["undef", "undef"]]


def test_what_cannot_be_served_is_refused(services: Services) -> None:
    def keyword(*, needed: int) -> None: ...

    for name, handler in {
        "calc": Calculator(),
        "system": Calculator(),
        "a.b": Calculator(),
        "": Calculator(),
        "_x": Calculator(),
        "ab" * 20: Calculator(),
        "empty": object(),
        "stats": {"stats": len},
        "private": {"_x": len},
        "numbers": {1: len},
        "keyword": {"f": keyword},
    }.items():
        with pytest.raises(LocalProtocolError):
            services.add(name, handler, "1")
    assert services.names == ["system", "calc"]


async def test_a_module_is_served_without_what_it_imports() -> None:
    module = types.ModuleType("greetings")
    exec("from os import getcwd\ndef hello(name: str) -> str:\n    return f'hello {name}'\n", module.__dict__)
    services = Services(ADDRESS, Limits())
    services.add("greetings", module, "1")
    assert await call(services, "greetings.hello", "you") == "hello you"
    with pytest.raises(Fault):
        await call(services, "greetings.getcwd")


async def test_every_service_tells_of_itself(services: Services) -> None:
    assert await call(services, "calc.ping") is True
    info = await call(services, "calc.info")
    assert info["service"] == "calc"
    assert info["version"] == "1.2"
    assert info["address"] == ADDRESS
    assert "add" in info["methods"]
    assert info["help"] == "Reckons."
    await call(services, "calc.add", 1)
    with pytest.raises(Fault):
        await call(services, "calc.add", "x")
    stats = await call(services, "calc.stats")
    assert stats["add"]["calls"] == 1
    assert stats["add"]["errors"] == 0
    assert stats["stats"]["running"] == 1


async def test_system_tells_of_all(services: Services) -> None:
    names = await call(services, "system.listMethods")
    assert {"calc.add", "calc.ping", "system.listMethods", "system.multicall", "system.ping"} <= set(names)
    assert await call(services, "system.methodHelp", "calc.add") == "Add two numbers."
    assert await call(services, "system.methodSignature", "calc.add") == [["int", "int", "int"], ["int", "int"]]
    assert await call(services, "system.listServices") == [
        {"service": "system", "version": "1"},
        {"service": "calc", "version": "1.2"},
    ]
    for method in ("methodHelp", "methodSignature"):
        for name in ("calc.nothing", "nothing.add", "nothing", ""):
            with pytest.raises(Fault) as fault:
                await call(services, f"system.{method}", name)
            assert fault.value.code == NO_SUCH_METHOD


async def test_multicall_makes_many_calls(services: Services) -> None:
    calls: list[Any] = [
        {"methodName": "calc.add", "params": [1, 2]},
        {"methodName": "calc.nothing", "params": []},
        {"methodName": "calc.caller"},
        {"methodName": "system.multicall", "params": [[]]},
        {"methodName": "calc.add", "params": ["x"]},
        {"params": []},
        {"methodName": "calc.add", "params": 5},
    ]
    results = await call(services, "system.multicall", calls)
    assert results[0] == [3]
    assert results[2] == ["cd" * 20]
    codes = [result["faultCode"] for result in results if isinstance(result, dict)]
    assert codes == [NO_SUCH_METHOD, INVALID_ARGUMENTS, INVALID_ARGUMENTS, INVALID_ARGUMENTS, INVALID_ARGUMENTS]
    with pytest.raises(Fault, match="1000"):
        await call(services, "system.multicall", calls[:1] * 1001)


async def test_the_results_of_a_multicall_are_bounded_all_together() -> None:
    made = 0

    async def long() -> str:
        nonlocal made
        made += 1
        return "x" * 1000

    async def strange() -> object:
        return object()

    services = Services("ab" * 20, Limits(max_call_body=10_000))
    services.add("calc", {"long": long, "strange": strange}, "1")
    with pytest.raises(Fault, match="10000 bytes"):
        await call(services, "system.multicall", [{"methodName": "calc.long"}] * 1000)
    assert made < 10
    results = await call(services, "system.multicall", [{"methodName": "calc.strange"}, {"methodName": "calc.ping"}])
    assert results[0]["faultCode"] == INTERNAL_ERROR
    assert results[1] == [True]


def test_failures_are_told_by_class_and_words() -> None:
    own = Fault(5, "mine")
    assert fault_of(own) is own
    for error, code, text in [
        (ValueError("no"), FAILED, "ValueError: no"),
        (ExceptionGroup("many", [ValueError("no")]), FAILED, "ExceptionGroup: many (1 sub-exception)"),
        (CallTimedOut("late"), NOT_REACHED, "CallTimedOut: late"),
        (Refused(303, "busy"), NOT_REACHED, "Refused: busy"),
    ]:
        fault = fault_of(error)
        assert (fault.code, fault.text) == (code, text)


def test_quantiles_are_upper_ends_of_classes() -> None:
    tally = Tally()
    assert set(tally.record().values()) == {0}
    for milliseconds in range(1, 101):
        tally.note(milliseconds / 1000, failed=milliseconds % 10 == 0)
    record = tally.record()
    assert (record["calls"], record["errors"], record["mean_ms"], record["most_ms"]) == (100, 10, 50.5, 100.0)
    assert 50 <= record["median_ms"] < 100
    assert 99 <= record["p99_ms"] <= 103
    tally.note(10**6, failed=False)
    assert tally.record()["most_ms"] == 10**9
