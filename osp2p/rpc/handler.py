"""What of a Python object can be called: its public methods, their signatures from type hints, their help."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Union

from osp2p.errors import Fault, LocalProtocolError
from osp2p.rpc.document import INVALID_ARGUMENTS, Value
from osp2p.rpc.message import is_method
from osp2p.wire.address import Address

#: How XML-RPC calls Python's types.
_TYPE_NAMES: dict[object, str] = {
    bool: "boolean",
    int: "int",
    float: "double",
    str: "string",
    bytes: "base64",
    datetime: "dateTime.iso8601",
    list: "array",
    tuple: "array",
    dict: "struct",
    types.NoneType: "nil",
}

#: The kinds of parameters that arguments by position fill.
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Context:
    """What a method may know of the call that it answers: it has a parameter with this class as its type hint.

    Attributes:
        caller: the caller's address, 40 hex digits, proved by its signature; the node's own for a call from within its
            process, or through it from a program on its machine.
        method: ``service.method``.
        deadline: when nobody wants the result any more: trio's clock. What the method awaits is cancelled then.
        remote: where the caller's connection comes from; None for a call from within the process, or over HTTP from a
            program on its machine.
    """

    caller: str
    method: str
    deadline: float
    remote: Address | None = None


class Method:
    """One method of a service.

    Args:
        function: bound, or a plain function.

    Raises:
        LocalProtocolError: it has parameters that no caller can fill.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function)
        self.help = inspect.getdoc(function) or ""
        self._hints = _hints(function)
        parameters = list(inspect.signature(function).parameters.values())
        self._context = next((one.name for one in parameters if self._hints.get(one.name) is Context), None)
        by_position = [one.name for one in parameters if one.kind in _BY_POSITION]
        self._context_at = by_position.index(self._context) if self._context in by_position else None
        called = [one for one in parameters if one.name != self._context]
        for one in called:
            if one.kind is one.KEYWORD_ONLY and one.default is one.empty:
                raise LocalProtocolError(
                    f"{name} cannot be called: arguments come by position, and {one.name} does not"
                )
        self._parameters = [one for one in called if one.kind in _BY_POSITION]
        self._rest = next((one for one in called if one.kind is one.VAR_POSITIONAL), None)
        self._least = sum(one.default is one.empty for one in self._parameters)

    @property
    def signatures(self) -> list[list[str]]:
        """Each form of a call: the result's type, then the arguments', fewer where some have defaults."""
        names = [_type_name(self._hints.get(one.name)) for one in self._parameters]
        result = _type_name(self._hints.get("return"))
        return [[result, *names[:count]] for count in range(len(names), self._least - 1, -1)]

    def check(self, arguments: Sequence[Value]) -> None:
        """Make sure that arguments fit.

        Raises:
            Fault: their number or their types do not.
        """
        most = len(self._parameters) if self._rest is None else len(arguments)
        if not self._least <= len(arguments) <= most:
            wanted = str(self._least) if self._least == most else f"{self._least} to {most}"
            plural = "" if most == 1 else "s"
            raise Fault(INVALID_ARGUMENTS, f"{self.name} takes {wanted} argument{plural}, not {len(arguments)}")
        for number, value in enumerate(arguments):
            one = self._parameters[number] if number < len(self._parameters) else self._rest
            assert one is not None
            hint = self._hints.get(one.name, Any)
            if not fits(value, hint):
                raise Fault(
                    INVALID_ARGUMENTS, f"{one.name} of {self.name} is {_spell(hint)}, not {_spell(type(value))}"
                )

    def bind(self, arguments: Sequence[Value], context: Context) -> Callable[[], Any]:
        """The call itself, still to be made."""
        if self._context is None:
            return partial(self.function, *arguments)
        at = self._context_at
        if at is not None and at <= len(arguments):
            return partial(self.function, *arguments[:at], context, *arguments[at:])
        return partial(self.function, *arguments, **{self._context: context})


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's type hints; none where they name what is not there."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def fits(value: Value, hint: Any) -> bool:
    """Whether a value that has arrived is of a type hint. Hints that say nothing about what travels fit everything."""
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if origin in (list, tuple, Sequence, Iterable):
        inner = typing.get_args(hint)[:1]
        return isinstance(value, list) and all(fits(item, one) for item in value for one in inner)
    if origin in (dict, Mapping):
        inner = typing.get_args(hint)[1:]
        return isinstance(value, dict) and all(fits(item, one) for item in value.values() for one in inner)
    if hint is None or hint is types.NoneType:
        return value is None
    if hint in (list, tuple, dict):
        return isinstance(value, dict if hint is dict else list)
    if hint is float:
        return type(value) in (int, float)
    return type(value) is hint or hint not in _TYPE_NAMES


def _type_name(hint: Any) -> str:
    """XML-RPC's name for a type hint; ``undef`` where it has none."""
    return _TYPE_NAMES.get(typing.get_origin(hint) or hint, "undef")


def _spell(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)


def methods_of(handler: object) -> dict[str, Method]:
    """What can be called of a handler.

    Args:
        handler: an object, whose public methods are meant; a module, whose own public functions are; or a mapping of
            names to functions. Names that begin or end with ``_`` are private.

    Raises:
        LocalProtocolError: a method that can never be called; a name of a mapping that cannot be one; or there is none.
    """
    if isinstance(handler, Mapping):
        for name in handler:
            if not isinstance(name, str) or not is_method(name):
                raise LocalProtocolError(f"{name!r} cannot be the name of a method")
        found = dict(handler)
    elif isinstance(handler, types.ModuleType):
        found = {
            name: value
            for name, value in vars(handler).items()
            if inspect.isfunction(value) and value.__module__ == handler.__name__
        }
    else:
        found = {name: getattr(handler, name) for name in dir(handler) if _is_function(handler, name)}
    methods = {name: Method(name, function) for name, function in sorted(found.items()) if is_method(name)}
    if not methods:
        named = f"the module {handler.__name__}" if isinstance(handler, types.ModuleType) else repr(handler)
        hint = "; a class of it is MODULE:CLASS" if isinstance(handler, types.ModuleType) else ""
        raise LocalProtocolError(f"{named} has no public methods to serve{hint}")
    return methods


def _is_function(handler: object, name: str) -> bool:
    """Whether an attribute is a method, without asking properties for their values."""
    return is_method(name) and isinstance(
        inspect.getattr_static(handler, name), types.FunctionType | staticmethod | classmethod | types.MethodType
    )
