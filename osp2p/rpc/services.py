"""The services of a node: what can be called here, and the calling of it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import trio

from osp2p.errors import CallError, Fault, LocalProtocolError, MalformedLine, Refused
from osp2p.limits import Limits
from osp2p.rpc.document import (
    FAILED,
    INTERNAL_ERROR,
    INVALID_ARGUMENTS,
    NO_SUCH_METHOD,
    NOT_REACHED,
    Value,
    write_result,
)
from osp2p.rpc.handler import Context, Method, methods_of
from osp2p.rpc.message import is_service, split_method
from osp2p.rpc.tally import Tally
from osp2p.rpc.threads import CallThreads

logger = logging.getLogger("osp2p.rpc")

#: Codes of refusals. Source: docs/rpc.md.
NO_SUCH_SERVICE = 311
NO_METHOD = 312

#: The service that tells of the others.
SYSTEM = "system"


class Service:
    """One service: a handler's methods, and those that every service has.

    Raises:
        LocalProtocolError: the name cannot be one, or the handler has nothing to call, or what every service has.
    """

    def __init__(self, name: str, handler: object, version: str, address: str) -> None:
        if not is_service(name):
            raise LocalProtocolError(f"{name!r} cannot be a service: a letter, and up to 63 letters, digits, - or _")
        self.name = name
        self.version = version
        self._address = address
        self._help = (getattr(handler, "__doc__", None) or "").strip() if not isinstance(handler, dict) else ""
        self.methods = methods_of(handler)
        common = methods_of({"ping": self._ping, "info": self._info, "stats": self._stats})
        if taken := sorted(common.keys() & self.methods.keys()):
            raise LocalProtocolError(f"{name}.{taken[0]} is what every service answers by itself: name it otherwise")
        self.methods |= common
        self.tallies = {method: Tally() for method in self.methods}

    async def _ping(self) -> bool:
        """Answer, and nothing else."""
        return True

    async def _info(self) -> dict[str, Any]:
        """What this service is: its name, version, methods and help, and the address of its node."""
        return {
            "service": self.name,
            "version": self.version,
            "address": self._address,
            "methods": list(self.methods),
            "help": self._help,
        }

    async def _stats(self) -> dict[str, Any]:
        """How often each method was called, how often it failed, and how many milliseconds it took."""
        return {name: tally.record() for name, tally in self.tallies.items()}


class Services:
    """All services of a node.

    Args:
        address: the node's own.
        limits: those of `CallThreads`, and `max_multicall`.
    """

    def __init__(self, address: str, limits: Limits) -> None:
        self._address = address
        self.limits = limits
        self._threads = CallThreads(limits)
        self._services: dict[str, Service] = {}
        self.add(SYSTEM, _System(self), "1")

    @property
    def names(self) -> list[str]:
        """The services' names; the first is `SYSTEM`."""
        return list(self._services)

    def add(self, name: str, handler: object, version: str) -> None:
        """Serve a handler.

        Raises:
            LocalProtocolError: it cannot be served, or the name is taken.
        """
        if name in self._services:
            raise LocalProtocolError(f"there is a service {name} already")
        self._services[name] = Service(name, handler, version, self._address)

    def service(self, name: str) -> Service:
        """The service of a name.

        Raises:
            Refused: there is none.
        """
        if name not in self._services:
            raise Refused(NO_SUCH_SERVICE, f"there is no service {name} here")
        return self._services[name]

    def all(self) -> list[Service]:
        """Every service."""
        return list(self._services.values())

    def find(self, path: str) -> tuple[Method, Tally]:
        """What a call means.

        Raises:
            Refused: there is no such service, or no such method.
        """
        name, method = split_method(path)
        service = self.service(name)
        if method not in service.methods:
            raise Refused(NO_METHOD, f"the service {name} has no method {method}")
        return service.methods[method], service.tallies[method]

    def _find(self, path: str) -> tuple[Method, Tally]:
        """As `find`, for a caller who has named the method in a document. Raises: Fault."""
        try:
            return self.find(path)
        except (Refused, MalformedLine) as error:
            raise Fault(NO_SUCH_METHOD, str(error)) from None

    def method(self, path: str) -> Method:
        """The method that a caller asks about. Raises: Fault."""
        return self._find(path)[0]

    async def invoke(self, path: str, arguments: Sequence[Value], context: Context) -> Any:
        """Call a method here. One that is not async runs in a worker thread, so that it holds nothing up.

        Raises:
            Fault: there is no such method, or the arguments do not fit it.
            Exception: what the method raises.

        Cancellation: an async method is cancelled; one in a thread is abandoned, and its result is lost.
        """
        method, tally = self._find(path)
        method.check(arguments)
        call = method.bind(arguments, context)
        began = trio.current_time()
        failed = True
        tally.running += 1
        try:
            if method.is_async:
                result = await call()
            else:
                result = await self._threads.run(call, context.remote)
            failed = False
        finally:
            tally.running -= 1
            tally.note(trio.current_time() - began, failed=failed)
        return result


class _System:
    """What a node serves, told to programs that know nothing of it."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def listServices(self) -> list[dict[str, str]]:
        """Each service's name and version."""
        return [{"service": service.name, "version": service.version} for service in self._services.all()]

    async def listMethods(self) -> list[str]:
        """Every method of this node, as service.method."""
        return [f"{service.name}.{method}" for service in self._services.all() for method in service.methods]

    async def methodHelp(self, name: str) -> str:
        """What a method does, in its author's words."""
        return self._services.method(name).help

    async def methodSignature(self, name: str) -> list[list[str]]:
        """Each form in which a method can be called: the type of its result, then those of its arguments."""
        return self._services.method(name).signatures

    async def multicall(self, calls: list[dict[str, Any]], context: Context) -> list[Any]:
        """Make many calls, one after the other, each {methodName, params}: a list of one result each, or a fault."""

        async def call(path: str, arguments: list[Value]) -> Any:
            return await self._services.invoke(path, arguments, replace(context, method=path))

        return await multicall(calls, call, self._services.limits)


async def multicall(
    calls: Sequence[object], call: Callable[[str, list[Value]], Awaitable[Any]], limits: Limits
) -> list[Any]:
    """Make many calls, one after the other. One that fails does not keep the others from being made.

    Args:
        calls: each a dict of ``methodName`` and ``params``.
        call: makes one.
        limits: `max_multicall`, and `max_call_body`, which all results together must not exceed.

    Returns: for each a list of its result alone, or a dict of ``faultCode`` and ``faultString``.

    Raises:
        Fault: there are too many, or their results are too long; then those that are left are not made.

    Source: Eric Kidd's proposal of 2001, which every XML-RPC library follows.
    """
    most, room = limits.max_multicall, limits.max_call_body
    if len(calls) > most:
        raise Fault(INVALID_ARGUMENTS, f"a multicall makes at most {most} calls, not {len(calls)}")
    results: list[Any] = []
    for one in calls:
        try:
            result = await call(*_read_call(one))
            room -= _length_of(result)
            results.append([result])
        except Exception as error:
            fault = fault_of(error)
            results.append({"faultCode": fault.code, "faultString": fault.text})
        if room < 0:
            raise Fault(INTERNAL_ERROR, f"the results have more than {limits.max_call_body} bytes")
    return results


def _length_of(result: object) -> int:
    """How many bytes the document of a result would have. Raises: Fault: it cannot travel."""
    try:
        return len(write_result(result))
    except LocalProtocolError as error:
        raise Fault(INTERNAL_ERROR, f"the result cannot be sent: {error}") from None


def _read_call(one: object) -> tuple[str, list[Value]]:
    """Raises: Fault."""
    path, arguments = (one.get("methodName"), one.get("params", [])) if isinstance(one, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(arguments, list):
        raise Fault(INVALID_ARGUMENTS, "a call in a multicall is a struct of methodName and params")
    if path == f"{SYSTEM}.multicall":
        raise Fault(INVALID_ARGUMENTS, "a multicall does not call multicall")
    return path, arguments


def fault_of(error: Exception) -> Fault:
    """What a caller is told of a failure: never more than the error's class and words."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, CallError):
        return Fault(NOT_REACHED, f"{type(error).__name__}: {error}")
    return Fault(FAILED, f"{type(error).__name__}: {error}")
