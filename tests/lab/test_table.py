"""Tables are checked when they are read, and say what they mean."""

from __future__ import annotations

import pytest

from osp2p.lab.table import Arrives, Attacks, File, Get, Hold, Row, Scenario, Share, Track, seconds_alone

A, B = File("a", 1000), File("b", 500)
TRACKER = Row(who="tracker", when=1, does=Track())
ANNA = Row(who="anna", when=2, does=Share(files=(A,)))


def test_steps_are_in_order_whatever_the_rows_are() -> None:
    late = Row(who="dora", when=7, does=Get(files=(A,)))
    scenario = Scenario(title="-", rows=(late, ANNA, TRACKER, Row(who="ben", when=2, does=Share(files=(B,)))))
    assert [[row.who for row in step] for step in scenario.steps] == [["tracker"], ["anna", "ben"], ["dora"]]
    assert scenario.tracker == "tracker"


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ((TRACKER, ANNA, ANNA), "one row"),
        ((TRACKER, Row(who="../x", when=2, does=Share(files=(A,)))), "letters"),
        ((ANNA,), "one tracker"),
        ((TRACKER, Row(who="other", when=2, does=Track())), "one tracker"),
        ((TRACKER, Row(who="anna", when=1, does=Share(files=(A,)))), "before all others"),
        ((TRACKER, Row(who="anna", when=2, does=Share(files=(A,)), expect=(Arrives(),))), "Arrives.*anna"),
        ((TRACKER, Row(who="dora", when=2, does=Get(files=(A,)), expect=(Attacks(),))), "Attacks.*dora"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused(rows: tuple[Row, ...], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Scenario(title="-", rows=rows)


def test_how_long_a_file_takes_alone() -> None:
    rows = (
        TRACKER,
        Row(who="slow", when=2, does=Hold(files=(A, B), rate=100)),
        Row(who="slower", when=2, does=Hold(files=(A,), rate=50)),
        Row(who="dora", when=3, does=Get(files=(A, B))),
    )
    assert seconds_alone(A, rows) == (10.0, 20.0)
    assert seconds_alone(B, rows) == (5.0, 5.0)
    assert seconds_alone(A, (*rows, ANNA)) == (0.0, 20.0)
    assert seconds_alone(File("c", 1), rows) == (0.0, 0.0)


def test_names_are_bytes_on_the_wire() -> None:
    assert File("größe", 0).raw == "größe".encode()
    assert File(b"\xff", 0).raw == b"\xff"
    assert File(b"\xff", 0).path == "\udcff"
