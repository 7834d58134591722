"""The set-up that run-good and run-tests share, with stand-ins for Python and pip, so that nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Answers as an interpreter does to what setup.sh asks, and writes down each environment and each installation.
STAND_IN = r"""#!/usr/bin/env bash
version=$(cat "$(dirname "$0")/version")
case "$*" in
*version_info*print* | *print*version_info*) echo "$version" ;;
*version_info*) [[ $version == 3.1[1-9]* ]] ;;
*ensurepip*) [ ! -e "$(dirname "$0")/no-venv" ] ;;
"-m venv .venv")
    echo venv >>calls
    mkdir -p .venv/bin
    cp "$0" "$(dirname "$0")/version" .venv/bin/
    mv .venv/bin/"$(basename "$0")" .venv/bin/python
    ;;
"-m pip --version") [ -x .venv/bin/python ] ;;
"-m pip install"*)
    echo "pip ${*: -1}" >>calls
    [ ! -e break-pip ] || exit 1
    cp "$0" .venv/bin/osp2p
    ;;
*) exit 99 ;;
esac
"""


class Checkout:
    """A directory with setup.sh in it, and a directory of stand-in interpreters that comes first in PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root / "checkout"
        self.programs = root / "programs"
        self.programs.mkdir(parents=True)
        (self.root / ".ci").mkdir(parents=True)
        shutil.copy(ROOT / ".ci/setup.sh", self.root / ".ci/setup.sh")
        (self.root / "setup.cfg").write_text("[metadata]\n")
        (self.root / "pyproject.toml").write_text("[build-system]\n")
        for tool in ("bash", "cat", "cksum", "flock", "head", "mkdir", "rm", "cp", "mv", "dirname", "basename"):
            if found := shutil.which(tool):
                (self.programs / tool).symlink_to(found)

    def add_python(self, version: str, name: str = "python3", *, venv: bool = True) -> Path:
        """Put a stand-in that says it is `version` where `name` is looked up."""
        home = self.programs.parent / f"python-{version}"
        home.mkdir()
        (home / "version").write_text(version)
        if not venv:
            (home / "no-venv").touch()
        program = home / name
        program.write_text(STAND_IN)
        program.chmod(0o755)
        wrapper = self.programs / name
        wrapper.write_text(f'#!/usr/bin/env bash\nexec {program} "$@"\n')
        wrapper.chmod(0o755)
        return program

    def set_up(self, extra: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        """Run set_up as run-good does."""
        script = f"set -euo pipefail; . .ci/setup.sh; set_up {extra}; echo ready"
        return subprocess.run(
            ["bash", "-c", script, "./run-good"],
            cwd=self.root,
            env={"PATH": str(self.programs), "HOME": os.environ.get("HOME", "/"), **environment},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def calls(self) -> list[str]:
        """What was made and installed since the last question."""
        log = self.root / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_run_installs_and_the_second_does_nothing(checkout: Checkout) -> None:
    checkout.add_python("3.12.1")
    first = checkout.set_up("test")
    assert (first.returncode, first.stdout) == (0, "ready\n"), first.stderr
    assert checkout.calls() == ["venv", "pip .[test]"]
    second = checkout.set_up("test")
    assert (second.returncode, second.stdout, second.stderr) == (0, "ready\n", "")
    assert checkout.calls() == []


def test_what_tests_need_is_installed_only_for_tests(checkout: Checkout) -> None:
    checkout.add_python("3.11.0")
    checkout.set_up()
    assert checkout.calls() == ["venv", "pip ."]
    checkout.set_up("test")
    assert checkout.calls() == ["pip .[test]"]
    checkout.set_up()
    assert checkout.calls() == []


def test_changed_requirements_are_installed_again(checkout: Checkout) -> None:
    checkout.add_python("3.11.0")
    checkout.set_up()
    checkout.calls()
    (checkout.root / "setup.cfg").write_text("[metadata]\n[options]\n")
    checkout.set_up()
    assert checkout.calls() == ["pip ."]


def test_an_interrupted_run_is_noticed(checkout: Checkout) -> None:
    checkout.add_python("3.11.0")
    (checkout.root / "break-pip").touch()
    broken = checkout.set_up()
    assert broken.returncode == 1
    assert "pip could not install" in broken.stderr
    assert broken.stdout == ""
    checkout.calls()
    (checkout.root / "break-pip").unlink()
    assert checkout.set_up().returncode == 0
    assert checkout.calls() == ["venv", "pip ."]


def test_a_moved_checkout_and_another_python_are_noticed(checkout: Checkout) -> None:
    checkout.add_python("3.11.0")
    checkout.set_up()
    checkout.calls()
    checkout.root = checkout.root.rename(checkout.root.with_name("moved"))
    assert checkout.set_up().returncode == 0
    assert checkout.calls() == ["venv", "pip ."]
    other = checkout.add_python("3.13.2", "other")
    assert checkout.set_up(PYTHON=str(other)).returncode == 0
    assert checkout.calls() == ["venv", "pip ."]


def test_an_environment_of_the_user_is_kept(checkout: Checkout) -> None:
    python = checkout.add_python("3.11.0")
    subprocess.run([python, "-m", "venv", ".venv"], cwd=checkout.root, check=True)
    checkout.calls()
    assert checkout.set_up().returncode == 0
    assert checkout.calls() == ["pip ."]


@pytest.mark.parametrize(
    ("version", "venv", "expected"),
    [
        ("3.9.2", True, "run-good: Python 3.9.2 is too old; install Python 3.11 or newer"),
        ("3.11.2", False, "run-good: Python 3.11 has no working venv module; install it"),
        (None, True, "run-good: there is no python3; install Python 3.11 or newer"),
    ],
)
def test_a_missing_python_or_venv_gets_one_line(
    checkout: Checkout, version: str | None, venv: bool, expected: str
) -> None:
    if version:
        checkout.add_python(version, venv=venv)
    result = checkout.set_up()
    assert result.returncode == 1
    assert result.stderr.startswith(expected)
    assert len(result.stderr.splitlines()) == 1
    assert not (checkout.root / ".venv").exists()


def test_a_python_without_venv_is_passed_over_for_one_with_it(checkout: Checkout) -> None:
    checkout.add_python("3.13.0", "python3.13", venv=False)
    checkout.add_python("3.12.0", "python3.12")
    result = checkout.set_up()
    assert result.returncode == 0, result.stderr
    assert "python3.12 (3.12.0)" in result.stderr
