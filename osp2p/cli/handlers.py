"""What a user names to be served: modules and objects, imported as Python would from this directory."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import types

from osp2p.cli.arguments import UsageError
from osp2p.cli.text import escape


def load_handler(word: str) -> tuple[str, object]:
    """Import ``module`` or ``module:object``.

    Returns: the name of the service, and its handler: the module; the object, or one of the class; or the function.

    Raises:
        UsageError: it cannot be imported, or there is no such object.
    """
    module_name, colon, object_name = word.partition(":")
    module = _import(module_name)
    if not colon:
        return module_name.rpartition(".")[2].lower(), module
    found: object = module
    for part in object_name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise UsageError(f"the module {escape(module_name)} has no {escape(object_name)}") from None
    if inspect.isfunction(found):
        return module_name.rpartition(".")[2].lower(), {found.__name__: found}
    if isinstance(found, type):
        return found.__name__.lower(), _make(found)
    return (object_name.rpartition(".")[2] if isinstance(found, dict) else type(found).__name__).lower(), found


def _import(name: str) -> types.ModuleType:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if name.endswith(".py"):
            raise UsageError(f"a module is named without .py: write {escape(name.removesuffix('.py'))}") from error
        raise UsageError(f"there is no module {escape(str(error.name))} here, nor is one installed") from error
    except Exception as error:
        raise UsageError(f"cannot import {escape(name)}: {type(error).__name__}: {escape(str(error))}") from error


def _make(kind: type) -> object:
    try:
        return kind()
    except Exception as error:
        raise UsageError(
            f"cannot make an object of {kind.__name__} without arguments: {type(error).__name__}: {escape(str(error))}"
        ) from error
