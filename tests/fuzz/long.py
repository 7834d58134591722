"""A long run over all parsers: `tests/fuzz/run-long [--inputs N] [--seed N] [--plain] [--keep] [TARGET…]`."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.corpus import keep, read_corpus
from tests.fuzz.loop import Outcome, can_guide, covering, run_target, shares
from tests.fuzz.target import Target, load_targets

#: Of what a run with --keep has reached, how many inputs are put into each corpus at most.
_KEPT = 25

_ROW = "{:22} {:>10} {:>10} {:>9} {:>8} {:>8} {:>6}"


def main(arguments: list[str]) -> int:
    """Run. Returns: 0 if no invariant was broken."""
    targets = load_targets()
    options = parse_arguments(arguments, sorted(targets))
    guided = not options.plain and can_guide()
    names = options.targets or list(targets)
    print(f"{'guided by coverage' if guided else 'unguided'}, seed {options.seed}", file=sys.stderr)
    print(_ROW.format("target", "inputs", "understood", "branches", "seconds", "per s", "finds"), flush=True)
    total = Outcome()
    for name, inputs in shares(options.inputs, names).items():
        outcome = run_target(targets[name], inputs, options.seed, guided=guided)
        print_row(name, outcome)
        report_finds(name, outcome)
        if options.keep:
            keep_reached(targets[name], outcome, options.seed)
        total.inputs += outcome.inputs
        total.understood += outcome.understood
        total.seconds += outcome.seconds
        total.finds += outcome.finds
        total.evidence = total.evidence or outcome.evidence
    print_row("all", total)
    return 1 if total.finds or total.evidence else 0


def parse_arguments(arguments: list[str], names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests/fuzz/run-long", description="Fuzz every parser for a long time.")
    parser.add_argument("--inputs", type=int, default=10_000_000, metavar="N", help="in all (default: ten million)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all mutations (default: 1)")
    parser.add_argument("--plain", action="store_true", help="without atheris, even where it is installed")
    parser.add_argument("--keep", action="store_true", help="put inputs that reach new code into tests/fuzz/corpus")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"only these, of: {', '.join(names)}")
    options = parser.parse_args(arguments)
    for name in options.targets:
        if name not in names:
            parser.error(f"there is no target {name}; there are: {', '.join(names)}")
    return options


def print_row(name: str, outcome: Outcome) -> None:
    branches = "" if outcome.branches is None else outcome.branches
    rate = round(outcome.inputs / outcome.seconds) if outcome.seconds else 0
    figures = (outcome.inputs, outcome.understood, branches, f"{outcome.seconds:.1f}", rate, len(outcome.finds))
    print(_ROW.format(name, *figures), flush=True)


def report_finds(name: str, outcome: Outcome) -> None:
    """Keep what broke an invariant, and say how."""
    if outcome.finds:
        keep(name, "A find.", outcome.finds)
    if outcome.evidence:
        print(f"{name}: {outcome.finds}\n{outcome.evidence}", file=sys.stderr, flush=True)


def keep_reached(target: Target, outcome: Outcome, seed: int) -> None:
    known = read_corpus(target.name)
    chosen = covering(target, known, outcome.reached, _KEPT)
    keep(target.name, f"Reached by {outcome.inputs} inputs with seed {seed}.", chosen)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
