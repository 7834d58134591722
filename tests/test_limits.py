"""Limits: every number that a stranger can push on stands there, with its unit and its reason."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

import osp2p
from osp2p import limits
from osp2p.limits import Limits

ROOT = Path(osp2p.__file__).parent

#: The rooms that strangers can reach. (Attacks, laboratories and command lines choose their own times.)
ROOMS = ["wire", "net", "content", "tracker", "rpc", "peer"]

#: Calls that take a time, in seconds.
TIMED = {"move_on_after", "fail_after", "move_on_at", "fail_at", "sleep", "sleep_until", "deadline", "CancelScope"}


def documented() -> dict[str, str]:
    """Each field of the class, and the string that stands under it."""
    tree = ast.parse(inspect.getsource(limits))
    (body,) = [node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Limits"]
    found: dict[str, str] = {}
    for field, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            found[field.target.id] = str(below.value.value) if is_text else ""  # type: ignore[union-attr]
    return found


FIELDS = [field.name for field in dataclasses.fields(Limits)]


def test_the_source_was_read() -> None:
    assert list(documented()) == FIELDS


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_documented(name: str) -> None:
    text = documented()[name].strip()
    assert len(text.split()) >= 3
    assert text.endswith((".", "?", ")"))


@pytest.mark.parametrize("name", FIELDS)
def test_every_default_is_a_sensible_number(name: str) -> None:
    value = getattr(Limits(), name)
    if name == "max_size":
        assert value is None  # what the disk has room for
    else:
        assert value > 0
        assert isinstance(value, int | float)


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda field: field.name)
def test_the_names_of_times_say_so(field: dataclasses.Field[object]) -> None:
    """What is a float is a time or a rate, and what ends in _timeout is a float: units cannot be mistaken."""
    if field.name.endswith(("_timeout", "_interval", "_window", "_backoff")):
        assert field.type == "float"
    if field.name.endswith(("_line", "_bytes", "_lines", "_files", "_connections", "_peers")):
        assert field.type == "int"


def test_limits_do_not_change_and_have_no_room_for_typing_errors() -> None:
    some = Limits()
    with pytest.raises(dataclasses.FrozenInstanceError):
        some.max_line = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        dataclasses.replace(some, max_lines_of_something=1)  # type: ignore[call-arg]
    assert dataclasses.replace(some, max_line=1) != some
    assert hash(some) == hash(Limits())


def test_defaults_fit_each_other() -> None:
    some = Limits()
    assert 3 * some.max_name + 100 < some.max_line  # quoted in full, with its verb, md5 and b3
    assert some.max_base_reply < 4096
    assert some.keepalive_interval < some.idle_timeout
    assert some.max_base_peer_line < some.max_base_reply
    assert some.max_connections_per_host <= some.max_connections
    assert some.max_uploads_per_host <= some.max_uploads
    assert some.max_source_tries > 250  # the fake peers of a tracker with -f
    assert some.connect_timeout <= 5  # no tracker at start is told within 5 s


def test_a_tracker_reads_its_own_longest_answers() -> None:
    """What our tracker sends in one reply, our client must be willing to read."""
    some = Limits()
    assert max(some.max_list_page, some.max_who_peers, some.max_want_peers, some.max_base_list) < some.max_reply_lines


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def literals(node: ast.AST) -> list[float]:
    """The numbers in an expression that stand for a time: neither an index nor a factor of something that varies."""
    if isinstance(node, ast.Constant):
        value = node.value
        return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []
    if isinstance(node, ast.Subscript):
        return literals(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        names = [leaf.id for leaf in ast.walk(node) if isinstance(leaf, ast.Name)]
        if any(not name.isupper() for name in names):
            return []
    return [number for child in ast.iter_child_nodes(node) for number in literals(child)]


def hidden_times(source: str) -> list[int]:
    """The lines in which a call that takes a time gets a literal one."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in TIMED:
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            found += [node.lineno] * any(number for argument in arguments for number in literals(argument))
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_time_is_hidden_in_the_code(path: Path) -> None:
    assert hidden_times(path.read_text()) == []


def test_hidden_times_are_found() -> None:
    assert hidden_times("trio.move_on_after(5)") == [1]
    assert hidden_times("\nwith deadline(trio.current_time() + 2.5, 'x'): pass") == [2]
    assert hidden_times("trio.CancelScope(deadline=now + 3)") == [1]
    assert hidden_times("trio.sleep(5 * SECONDS)") == [1]
    assert hidden_times("trio.sleep(2 * way.latency); trio.sleep_until(due[1])") == []
    assert hidden_times("sleep(0); trio.sleep(limits.accept_backoff); f(5)") == []
