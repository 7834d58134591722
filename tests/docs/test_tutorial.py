"""docs/tutorial.md is a lesson that works: all of it is done here, in its order."""

from __future__ import annotations

from pathlib import Path

from tests.docs.lesson import Lesson
from tests.docs.markdown import read_document


async def test_the_lesson_goes_as_printed(tmp_path: Path) -> None:
    await Lesson(tmp_path, ports=(5000, 5001, 6000), peer_ports=(5001,)).run(read_document("tutorial.md"))
