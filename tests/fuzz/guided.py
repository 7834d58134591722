"""One target under atheris: `python -m tests.fuzz.guided TARGET COUNTERS [LIBFUZZER OPTION…]`.

Ends as libFuzzer ends: 0 when all inputs were tried, else it has written down the one that broke the invariant.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> None:
    """Run until libFuzzer ends the process."""
    name, counters_path, *options = arguments
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=["osp2p"]):
        loop = import_module("tests.fuzz.loop")
        target = import_module("tests.fuzz.target").load_targets()[name]
    counters = loop.Counters(Path(counters_path))

    def try_one(data: bytes) -> None:
        understood = False
        try:
            understood = loop.check_in_time(target, data)
        finally:
            counters.count(understood)

    atheris.Setup([sys.argv[0], *options], try_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
