"""XML-RPC documents: what a call carries, and what comes back.

The standard library marshals, defusedxml parses. Where the library loses something silently, or trusts a stranger, this
module says no:

- A string with characters that XML cannot carry is refused; a carriage return is written as ``&#13;``, because a parser
  reads a raw one as a line feed.
- Integers have up to 64 bits; those beyond 32 are written as ``i8``, which is the usual extension. ``nil`` is another.
- A number that is not finite, a date with a zone or with fractions of a second, and objects are refused: the library
  writes the first as text that few can read, drops the second, and gives an object's attributes away.
- A document that is read defines nothing (no DTD), has the elements of the specification where they belong, values that
  lie in each other at most `MAX_DEPTH` deep, and structs that name each member once.

Source: the XML-RPC specification (Winer, 1999); the fault codes of "Specification for Fault Code Interoperability"
(Libby, 2001).
"""

from __future__ import annotations

import base64
import math
import re
import xmlrpc.client
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from xml.parsers.expat import ExpatError

from defusedxml.xmlrpc import DefusedExpatParser

from osp2p.errors import Fault, LocalProtocolError, MalformedDocument

#: What can travel.
Value: TypeAlias = "bool | int | float | str | bytes | datetime | list[Value] | dict[str, Value] | None"

#: How deep arrays and structs may lie in each other.
MAX_DEPTH = 32

#: Agreed codes of faults.
NOT_WELL_FORMED = -32700
NO_SUCH_METHOD = -32601
INVALID_ARGUMENTS = -32602
INTERNAL_ERROR = -32603
FAILED = -32500
NOT_REACHED = -32300

#: Longest text of a fault in characters: a remote exception may carry anything.
MAX_FAULT_TEXT = 1000

_INT32 = range(-(1 << 31), 1 << 31)
_INT64 = range(-(1 << 63), 1 << 63)

# XML 1.0 carries tab, line feed, carriage return, and all from U+0020 on but surrogates, U+FFFE and U+FFFF.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# An integer is an optional sign and decimal digits; one of 64 bits has at most 19.
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,19})\s*", re.ASCII)

# A double is a sign, digits and a point; most programs, Python's among them, write an exponent where that is shorter.
_DOUBLE = re.compile(
    r"\s*([+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?)\s*", re.ASCII
)

# What a value may be.
_TYPES = frozenset(
    ["array", "struct", "nil", "boolean", "int", "i4", "i8", "double", "string", "base64", "dateTime.iso8601"]
)

# Which elements stand in an element, one after the other; the document's own stands in none.
_PARTS: dict[str, tuple[frozenset[str], ...]] = {
    "": (frozenset({"methodCall", "methodResponse"}),),
    "methodCall": (frozenset({"methodName"}), frozenset({"params"})),
    "methodResponse": (frozenset({"params", "fault"}),),
    "param": (frozenset({"value"}),),
    "fault": (frozenset({"value"}),),
    "array": (frozenset({"data"}),),
    "member": (frozenset({"name"}), frozenset({"value"})),
    "value": (_TYPES,),
}

# The same by element and number.
_ALLOWED = {(around, number): tags for around, parts in _PARTS.items() for number, tags in enumerate(parts)}
_NOTHING: frozenset[str] = frozenset()

# Which element stands in an element any number of times.
_REPEATED = {"params": "param", "data": "value", "struct": "member"}

# How many elements there must be: a call may have no params, and a value without an element is a string.
_LEAST = {"methodCall": 1, "methodResponse": 1, "param": 1, "fault": 1, "array": 1, "member": 2}

# The deepest element: a level of arrays or structs takes three elements; around them are up to four, in them two.
_MAX_OPEN = 3 * MAX_DEPTH + 6


class _Marshaller(xmlrpc.client.Marshaller):
    """The library's marshaller, without its silent losses."""

    dispatch: dict[Any, Callable[..., None]] = dict(xmlrpc.client.Marshaller.dispatch)

    def __init__(self) -> None:
        super().__init__(allow_none=True)
        self._depth = 0

    def _int(self, value: int, write: Callable[[str], object]) -> None:
        if value not in _INT64:
            raise LocalProtocolError("an integer that travels has at most 64 bits")
        tag = "int" if value in _INT32 else "i8"
        write(f"<value><{tag}>{value}</{tag}></value>\n")

    def _float(self, value: float, write: Callable[[str], object]) -> None:
        if not math.isfinite(value):
            raise LocalProtocolError(f"XML-RPC has no number {value}")
        write(f"<value><double>{value!r}</double></value>\n")

    def _str(self, value: str, write: Callable[[str], object]) -> None:
        write(f"<value><string>{_escape(value)}</string></value>\n")

    def _datetime(self, value: datetime, write: Callable[[str], object]) -> None:
        if value.tzinfo is not None or value.microsecond:
            raise LocalProtocolError("a date of XML-RPC has neither a zone nor fractions of a second")
        write(f"<value><dateTime.iso8601>{value.isoformat().replace('-', '')}</dateTime.iso8601></value>\n")

    def _list(self, value: Sequence[Any], write: Callable[[str], object]) -> None:
        self._go_deeper()
        self.dump_array(value, write)
        self._depth -= 1

    def _dict(self, value: dict[str, Any], write: Callable[[str], object]) -> None:
        self._go_deeper()
        self.dump_struct(value, write, escape=_escape)
        self._depth -= 1

    def _go_deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LocalProtocolError(f"values that travel lie at most {MAX_DEPTH} deep in each other")

    def _refuse(self, value: object, write: Callable[[str], object]) -> None:
        raise LocalProtocolError(f"a {type(value).__name__} cannot travel: send what it is made of")

    dispatch |= {int: _int, float: _float, str: _str, datetime: _datetime, list: _list, tuple: _list, dict: _dict}
    dispatch |= dict.fromkeys((xmlrpc.client.DateTime, xmlrpc.client.Binary, "_arbitrary_instance"), _refuse)


def _escape(text: str) -> str:
    """Write a string as character data."""
    if (found := _NOT_XML.search(text)) is not None:
        raise LocalProtocolError(f"XML cannot carry the character {found[0]!r}: send bytes instead")
    return xmlrpc.client.escape(text).replace("\r", "&#13;")


def _marshal(values: tuple[Any, ...] | xmlrpc.client.Fault) -> str:
    try:
        return _Marshaller().dumps(values)
    except TypeError as error:  # the library's own words for what has no place in its table
        raise LocalProtocolError(str(error)) from None


def write_call(method: str, arguments: Sequence[object]) -> bytes:
    """Write the document of a call.

    Args:
        method: ``service.method``.
        arguments: None, bool, int, float, str, bytes, datetime, and lists, tuples and dicts of them.

    Raises:
        LocalProtocolError: something in them cannot travel.
    """
    body = _marshal(tuple(arguments))
    return f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{method}</methodName>\n{body}</methodCall>\n".encode()


def write_result(value: object) -> bytes:
    """Write the document of a result.

    Raises:
        LocalProtocolError: something in it cannot travel.
    """
    return _response(_marshal((value,)))


def write_fault(fault: Fault) -> bytes:
    """Write the document of a failure. What XML cannot carry of its text is replaced, and its length is bounded."""
    text = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", fault.text[:MAX_FAULT_TEXT])
    code = fault.code if fault.code in _INT32 else FAILED
    return _response(_marshal(xmlrpc.client.Fault(code, text)))


def _response(body: str) -> bytes:
    return f"<?xml version='1.0'?>\n<methodResponse>\n{body}</methodResponse>\n".encode()


class _Unmarshaller(xmlrpc.client.Unmarshaller):
    """The library's unmarshaller, which is tolerant, made strict.

    The library's own `start`, `end` and `data` are not called: this is most of what reading a document takes, and a
    call more for each element would be a third of that.
    """

    dispatch: dict[str, Callable[..., None]] = dict(xmlrpc.client.Unmarshaller.dispatch)

    def __init__(self) -> None:
        super().__init__(use_builtin_types=True)
        self.data = self._data.append  # type: ignore[method-assign, assignment]  # the same, without a call in between
        self._open = [""]
        self._parts = [0]
        self.document = ""

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        if ":" in tag:
            tag = tag.rpartition(":")[2]  # nil may be written as ex:nil
        around, number = self._open[-1], self._parts[-1]
        if tag not in _ALLOWED.get((around, number), _NOTHING) and tag != _REPEATED.get(around):
            raise MalformedDocument(f"an element {tag[:20]!r} cannot stand there in {around or 'a document'!r}")
        if len(self._open) == _MAX_OPEN:
            raise MalformedDocument(f"values lie more than {MAX_DEPTH} deep in each other")
        self.document = self.document or tag
        self._parts[-1] += 1
        self._open.append(tag)
        self._parts.append(0)
        if tag == "array" or tag == "struct":
            self._marks.append(len(self._stack))
        self._data.clear()
        self._value = tag == "value"

    def end(self, tag: str) -> None:
        tag = self._open.pop()
        if self._parts.pop() < _LEAST.get(tag, 0):
            raise MalformedDocument(f"the element {tag!r} lacks something")
        if (read := self.dispatch.get(tag)) is not None:
            read(self, "".join(self._data))
        self._data.clear()  # else all of it would be put together again at each end tag that follows

    @property
    def values(self) -> list[Any]:
        """What the document holds."""
        return self._stack

    @property
    def is_fault(self) -> bool:
        """Whether it is the document of a failure."""
        return self._type == "fault"

    def _read_int(self, data: str) -> None:
        match = _INTEGER.fullmatch(data)
        if match is None or int(match[1]) not in _INT64:
            raise MalformedDocument("an integer is decimal and has at most 64 bits")
        self.append(int(match[1]))
        self._value = False

    def _read_double(self, data: str) -> None:
        match = _DOUBLE.fullmatch(data)
        if match is None or not math.isfinite(float(match[1])):
            raise MalformedDocument("a double is a finite decimal number")
        self.append(float(match[1]))
        self._value = False

    def _read_base64(self, data: str) -> None:
        self.append(base64.b64decode("".join(data.split()), validate=True))
        self._value = False

    def _read_struct(self, data: str) -> None:
        names = self._stack[self._marks[-1] :: 2]
        if len(set(names)) != len(names):
            raise MalformedDocument("a struct names a member twice")
        self.end_struct(data)

    dispatch |= {"int": _read_int, "i4": _read_int, "i8": _read_int}
    dispatch |= {"double": _read_double, "base64": _read_base64, "struct": _read_struct}


def _parse(document: bytes, kind: str) -> _Unmarshaller:
    """Read a document of a kind.

    Raises:
        MalformedDocument.
    """
    target = _Unmarshaller()
    try:
        parser = DefusedExpatParser(target, forbid_dtd=True)
        parser.feed(document)
        parser.close()
    except (ExpatError, ValueError, TypeError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise MalformedDocument(f"this is no XML-RPC: {type(error).__name__}") from error
    if target.document != kind:
        raise MalformedDocument(f"this is no {kind}")
    return target


def parse_call(document: bytes) -> tuple[str, list[Value]]:
    """Read the document of a call.

    Returns: the method's name as it stands there, and the arguments.

    Raises:
        MalformedDocument.
    """
    target = _parse(document, "methodCall")
    return target.getmethodname() or "", target.values


def parse_response(document: bytes) -> Value:
    """Read the document of a result or a failure.

    Returns: the result.

    Raises:
        Fault: it is a failure.
        MalformedDocument.
    """
    target = _parse(document, "methodResponse")
    values = target.values
    if len(values) != 1:
        raise MalformedDocument("a response holds one value")
    (value,) = values
    if target.is_fault:
        raise _fault(value)
    result: Value = value
    return result


def _fault(value: object) -> Fault:
    if isinstance(value, dict):
        code, text = value.get("faultCode"), value.get("faultString")
        if type(code) is int and type(text) is str:
            return Fault(code, text)
    raise MalformedDocument("a fault is a struct of faultCode and faultString")
