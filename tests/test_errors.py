"""The tree of errors, and the picture of it."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from osp2p import errors
from osp2p.errors import (
    Fault,
    LineTooLong,
    MalformedLine,
    Osp2pError,
    Refused,
    RemoteProtocolError,
    TrackerRefused,
)


def drawn() -> dict[str, str]:
    """Each class in the docstring's picture, and the one that it hangs on."""
    assert errors.__doc__ is not None
    parents: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"    ((?:[│ ]   )*(?:[├└]── )?)(\w+)(?: {2,}\S|$)", line)
        if match and (match[1] or match[2] == "Osp2pError"):
            depth = len(match[1]) // 4
            del above[depth:]
            if above:
                parents[match[2]] = above[-1]
            above.append(match[2])
    return parents


def real(root: type[Osp2pError] = Osp2pError) -> dict[str, str]:
    """Each class of the module, and the one that it derives from."""
    parents: dict[str, str] = {}
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            parents[child.__name__] = root.__name__
            parents |= real(child)
    return parents


def classes() -> list[type[Osp2pError]]:
    return [Osp2pError, *(getattr(errors, name) for name in real())]


def test_the_picture_is_the_tree() -> None:
    assert len(drawn()) > 20
    assert drawn() == real()


def test_nothing_in_the_module_is_outside_of_the_tree() -> None:
    found = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert found == {cls.__name__ for cls in classes()}


@pytest.mark.parametrize("cls", classes())
def test_every_class_says_what_it_means(cls: type[Osp2pError]) -> None:
    assert cls.__doc__
    assert "__doc__" in vars(cls)
    assert cls.__doc__.splitlines()[0].endswith(".")


def make(cls: type[Osp2pError], text: str) -> Osp2pError:
    return cls(300, text) if cls in (TrackerRefused, Refused, Fault) else cls(text)


@pytest.mark.parametrize("cls", classes())
def test_the_text_is_what_the_user_reads(cls: type[Osp2pError]) -> None:
    assert str(make(cls, "a sentence")) == "a sentence"


@pytest.mark.parametrize("cls", classes())
def test_errors_survive_a_copy_and_another_process(cls: type[Osp2pError]) -> None:
    error = make(cls, "a sentence")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(again) is cls
        assert str(again) == "a sentence"
        assert vars(again) == vars(error)


def test_their_mistakes_carry_the_code_that_answers_them() -> None:
    assert RemoteProtocolError("x").code == LineTooLong("x").code == MalformedLine("x").code == 500
    assert MalformedLine("x", code=300).code == 300
    assert TrackerRefused(300, "x").code == 300


def test_no_class_hides_a_builtin() -> None:
    import builtins

    assert not [cls.__name__ for cls in classes() if hasattr(builtins, cls.__name__)]
