"""``serve``, ``call`` and ``services``: methods across the network."""

from __future__ import annotations

import base64
import contextlib
import json
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import trio

from osp2p.cli.arguments import UsageError
from osp2p.cli.console import Console
from osp2p.cli.exits import DONE, SOME_FAILED, exit_code_of_files
from osp2p.cli.handlers import load_handler
from osp2p.cli.lines import event_line
from osp2p.cli.overlay_options import chosen_overlay
from osp2p.cli.records import Record, error_fields, event_record
from osp2p.cli.serving import own_addresses
from osp2p.cli.text import shell_word
from osp2p.errors import CallError, LocalProtocolError, MalformedLine, NodeNotFound, OverlayUnreachable
from osp2p.limits import Limits
from osp2p.overlay.keys import DEFAULT_NETWORK
from osp2p.overlay.node import OverlayOptions
from osp2p.peer.events import Event
from osp2p.peer.node import Node, open_node
from osp2p.rpc.message import is_address, is_service, split_method
from osp2p.rpc.services import SYSTEM

# --- serve ---


async def serve(arguments: Namespace, console: Console) -> int:
    """Serve handlers until cancelled.

    Raises:
        UsageError: what is to be served cannot be.
        StoreError, ListenFailed.
    """
    if arguments.name is not None and len(arguments.handlers) != 1:
        raise UsageError("--name names one service: name one handler")
    handlers = dict(load_handler(word) for word in arguments.handlers)
    if len(handlers) < len(arguments.handlers):
        raise UsageError("two handlers would be services of the same name: serve one of them with --name elsewhere")
    if arguments.name is not None:
        handlers = dict(zip([arguments.name], handlers.values(), strict=True))
    options = chosen_overlay(arguments, read_only=False)

    def show(event: Event) -> None:
        if console.json:
            console.news([event_record(event)])
        elif (line := event_line(event)) is not None:
            console.note(line)

    async with open_node(
        port=arguments.port,
        overlay=options,
        identity=arguments.identity,
        http_anywhere=arguments.http_anywhere,
        report=show,
    ) as node:
        for name, handler in handlers.items():
            try:
                await node.serve(name, handler, version=arguments.service_version)
            except LocalProtocolError as error:
                raise UsageError(str(error)) from None
        await node.take_calls()
        await _wait_known(node, options)
        await _invite(console, node, list(handlers), options)
        await trio.sleep_forever()
    return DONE


async def _wait_known(node: Node, options: OverlayOptions | None) -> None:
    """Give the overlay a moment to hear of the node, if there is anybody to hear."""
    if node.overlay is None or options is None or not options.joins:
        return
    patience = Limits().join_patience
    with contextlib.suppress(OverlayUnreachable):
        await node.overlay.wait_connected(patience)
        await node.overlay.wait_published(patience)


async def _invite(console: Console, node: Node, names: list[str], options: OverlayOptions | None) -> None:
    """Say what others must type."""
    port = (await node.listen()).port
    places = own_addresses(port)
    target, join = node.address, ""
    if options is None:
        target += f"@{places[0]}"
    else:
        join = f" --join {places[0]}"
        if options.network != DEFAULT_NETWORK:
            join += f" --network {shell_word(options.network)}"
    commands = [f"osp2p call {target} {name}.info{join}" for name in names]
    if console.json:
        record: Record = {"event": "serving", "node": node.address, "services": names, "at": places}
        console.records([{**record, "http": f"http://127.0.0.1:{port}/RPC2", "commands": commands}])
        return
    console.note(f"this node is {node.address}")
    console.note(f"programs of this machine call through http://127.0.0.1:{port}/RPC2")
    if commands:
        console.note("to call, type on any machine:")
    console.say(*commands)


# --- call ---


async def call(arguments: Namespace, console: Console) -> int:
    """Call a method, and print what it returns.

    Raises:
        UsageError: the call cannot be made like that.
        CallError, OverlayError, StoreError.
    """
    target, method, *words = arguments.words
    values = [read_argument(word) for word in words]
    kind, _, service = target.partition(":")
    try:
        named, _ = split_method(method)
    except MalformedLine as error:
        raise UsageError(str(error)) from None
    some = kind in ("any", "all") and bool(service)
    if some and named != service:
        raise UsageError(f"{method} is no method of the service {service}")
    near = _near(arguments, kind) if arguments.near is not None else None
    try:
        async with _open_caller(arguments, found="@" in target) as node:
            timeout = arguments.timeout
            if kind == "all" and some:
                return _show_all(console, method, await node.call_all(method, *values, timeout=timeout))
            if some:
                value = await node.call_any(method, *values, near=near, timeout=timeout)
            else:
                value = await node.call(target, method, *values, timeout=timeout)
    except (MalformedLine, LocalProtocolError) as error:
        raise UsageError(str(error)) from None
    if console.json:
        console.records([{"event": "result", "method": method, "value": json_value(value)}])
    else:
        console.say(*_lines(value))
    return DONE


def _near(arguments: Namespace, kind: str) -> str:
    if kind != "any":
        raise UsageError("--near chooses among many: it stands with any:SERVICE")
    if not is_address(arguments.near):
        raise UsageError("--near is a node's address of 40 lower-case hex digits")
    return str(arguments.near)


@asynccontextmanager
async def _open_caller(arguments: Namespace, *, found: bool) -> AsyncIterator[Node]:
    """A node that calls and serves nothing.

    Args:
        found: whether the user has said where the node is, so that no overlay is needed.
    """
    options = None if found else chosen_overlay(arguments, read_only=True, always=True)
    async with open_node(overlay=options, identity=arguments.identity) as node:
        yield node


def _show_all(console: Console, method: str, answers: dict[str, Any]) -> int:
    """Print every node's answer. Returns: the exit code."""
    failures = [answer for answer in answers.values() if isinstance(answer, CallError)]
    for address, answer in answers.items():
        if console.json:
            record: Record = {"method": method, "node": address}
            if isinstance(answer, CallError):
                console.records([{"event": "error", **record, **error_fields(answer)}])
            else:
                console.records([{"event": "result", **record, "value": json_value(answer)}])
        elif isinstance(answer, CallError):
            console.complain(f"{address}: {answer}")
        else:
            console.say(*(f"{address}  {line}" for line in _lines(answer)))
    return exit_code_of_files(len(answers) - len(failures), failures) if failures else DONE


def read_argument(word: str) -> Any:
    """Read an argument: JSON, or the text as it stands."""
    try:
        return json.loads(word, parse_constant=_refuse_constant)
    except ValueError:
        return word


def _refuse_constant(word: str) -> None:
    raise ValueError(word)


def json_value(value: Any) -> Any:
    """What a call returned, as JSON has it: bytes become an object with ``base64``, dates one with ``date``."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return {"date": value.isoformat()}
    if isinstance(value, list):
        return [json_value(one) for one in value]
    if isinstance(value, dict):
        return {key: json_value(one) for key, one in value.items()}
    return value


def _lines(value: Any) -> list[str]:
    """What a call returned, for people: texts and dates as they are, all else as JSON."""
    if isinstance(value, str):
        return value.splitlines() or [""]
    if isinstance(value, datetime):
        return [value.isoformat(" ")]
    return json.dumps(json_value(value), indent=2, ensure_ascii=False).splitlines()


# --- services ---


async def list_services(arguments: Namespace, console: Console) -> int:
    """Print who serves what.

    Raises:
        UsageError: what is asked for is neither an address nor a service.
        CallError, OverlayError, StoreError.
    """
    word = arguments.words[0] if arguments.words else SYSTEM
    address = word.partition("@")[0]
    if not is_address(address) and not is_service(word):
        raise UsageError(f"{word} is neither a node's address nor the name of a service")
    async with _open_caller(arguments, found="@" in word) as node:
        if is_address(address):
            await _show_methods(console, node, word)
            return DONE
        found = await node.find_service(word)
        if arguments.words:
            _show_services(console, [(provider.address, word, provider.version) for provider in found])
            return DONE
        return await _show_nodes(console, node)


async def _show_nodes(console: Console, node: Node) -> int:
    """Print the services of every node that is found."""
    rows: list[tuple[str, str, str]] = []
    failed = 0
    for address, listed in (await node.call_all(f"{SYSTEM}.listServices", timeout=Limits().provider_timeout)).items():
        if isinstance(listed, CallError):
            console.complain(f"{address}: {listed}")
            failed += 1
            continue
        services = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        rows += [(address, str(one.get("service")), str(one.get("version"))) for one in services]
    _show_services(console, [row for row in rows if row[1] != SYSTEM])
    return SOME_FAILED if failed else DONE


def _show_services(console: Console, rows: list[tuple[str, str, str]]) -> None:
    if console.json:
        console.records(
            {"event": "service", "node": address, "service": service, "version": version}
            for address, service, version in sorted(rows)
        )
    else:
        console.say(*(f"{address}  {service} {version}" for address, service, version in sorted(rows)))


async def _show_methods(console: Console, node: Node, target: str) -> None:
    """Print what a node serves, and how it is called."""
    names = await node.call(target, f"{SYSTEM}.listMethods")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise NodeNotFound(f"{target} does not say what it serves")
    questions = [
        {"methodName": f"{SYSTEM}.{question}", "params": [name]}
        for name in names
        for question in ("methodSignature", "methodHelp")
    ]
    answers = await node.call(target, f"{SYSTEM}.multicall", questions)
    told = [one[0] if isinstance(one, list) and one else None for one in answers] if isinstance(answers, list) else []
    for name, signatures, help_text in zip(names, told[::2], told[1::2], strict=False):
        if console.json:
            console.records([{"event": "method", "method": name, "signatures": signatures, "help": help_text}])
        else:
            first = str(help_text or "").partition("\n")[0]
            console.say(f"{_spell(str(name), signatures)}{'  ' if first else ''}{first}")


def _spell(name: str, signatures: Any) -> str:
    """A method's first form, such as ``clock.add(int, int) -> int``."""
    if isinstance(signatures, list) and signatures and isinstance(signatures[0], list) and signatures[0]:
        result, *arguments = map(str, signatures[0])
        return f"{name}({', '.join(arguments)}) -> {result}"
    return name
