"""Plays scenes, one after the other, and judges each."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import trio

from osp2p.grade.stage import Stage, Subject
from osp2p.grade.steps import Scene
from osp2p.grade.verdict import Judged, Wrong

Report = Callable[[Judged], None]


async def play_scene(subject: Subject, scene: Scene) -> Judged:
    """Play one scene.

    Cancellation: all its connections are closed.
    """
    stage = Stage(subject, scene.check.id)
    begun = trio.current_time()
    try:
        figures = await scene.play(stage) or {}
        reason = ""
    except Wrong as wrong:
        figures, reason = {}, str(wrong)
    finally:
        stage.close()
    seconds = trio.current_time() - begun
    outcome = "failed" if reason else "passed"
    return Judged(scene.check, outcome, reason, seconds, stage.evidence, figures)  # type: ignore[arg-type]


async def play_scenes(subject: Subject, scenes: Iterable[Scene], report: Report) -> list[Judged]:
    """Play scenes in turn."""
    judged = []
    for scene in scenes:
        one = await play_scene(subject, scene)
        report(one)
        judged.append(one)
    return judged
