"""What programs find under `import osp2p`."""

from __future__ import annotations

import inspect
import subprocess
import sys

import osp2p
import osp2p.errors
import osp2p.peer.events

#: Errors of the zoo and of the grader, which are commands.
NOT_FOR_PROGRAMS = (
    "AttackError",
    "GradeError",
    "MalformedDocument",
    "MalformedDatagram",
    "MalformedLine",
    "LineTooLong",
)


def test_every_name_is_there_and_is_what_it_is_called() -> None:
    for name in osp2p.__all__:
        found = getattr(osp2p, name)
        assert name == "__version__" or found.__name__ == name
    assert set(osp2p.__all__) <= set(dir(osp2p))


def test_whatever_a_node_reports_or_raises_has_a_name_here() -> None:
    hidden = tuple(getattr(osp2p.errors, name) for name in NOT_FOR_PROGRAMS)
    for module, root in ((osp2p.errors, osp2p.errors.Osp2pError), (osp2p.peer.events, osp2p.peer.events.Event)):
        for name, one in inspect.getmembers(module, inspect.isclass):
            if issubclass(one, root) and not issubclass(one, hidden):
                assert getattr(osp2p, name) is one, name


def test_nobody_waits_for_trio_before_it_is_needed() -> None:
    code = "import sys, osp2p; dir(osp2p); osp2p.Osp2pError; osp2p.Limits; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
