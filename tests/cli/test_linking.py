"""Links end to end, directories, rates and how long a seed stays: the commands as processes."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from osp2p.cli.arguments import UsageError
from osp2p.cli.parsers import get_parser
from osp2p.content.digest import digest_in_thread
from osp2p.wire.link import parse_link
from tests.cli.processes import Program, World

CAT = b"meow" * 100_000


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    async with world.tracker() as port:
        yield port


@pytest.fixture
async def photos(world: World, port: int) -> AsyncIterator[Program]:
    directory = world.files("photos", cat_jpg=CAT, dog_txt=b"woof")
    (directory / "sub" / "more").mkdir(parents=True)
    (directory / "sub" / "deep.txt").write_bytes(b"deep")
    (directory / "sub" / "more" / "deeper.txt").write_bytes(b"deeper")
    async with world.sharer(directory) as program:
        yield program


async def link_to(world: World, name: str) -> str:
    """The link to a file, once its content is known to the tracker."""
    with trio.fail_after(20):
        while True:
            done = await world.run("link", name)
            if done.code == 0:
                return done.out.decode().strip()
            assert done.code == 3, done.err


async def test_a_link_is_printed_fetched_and_verified(world: World, photos: Program) -> None:
    link = await link_to(world, "cat.jpg")
    assert parse_link(link).b3 == (await digest_in_thread(world.directory / "photos" / "cat.jpg")).digests.b3
    fetched = await world.run("get", link, "-o", "copy.jpg", "--json")
    assert fetched.code == 0, fetched.err
    assert (world.directory / "copy.jpg").read_bytes() == CAT
    assert fetched.of("done")[0]["proof"] == "b3"
    good = await world.run("verify", "copy.jpg", link)
    assert (good.code, good.out) == (0, b"copy.jpg: the content is the link's\n")
    (world.directory / "copy.jpg").write_bytes(CAT[:-1] + b"!")
    bad = await world.run("verify", "copy.jpg", link)
    assert (bad.code, bad.out) == (6, b"")


async def test_a_link_to_a_file_here_needs_no_tracker(world: World) -> None:
    world.files("here", a_txt=b"content")
    done = await world.run("link", "here/a.txt", OSP2P_TRACKER="192.0.2.7:5000")
    assert done.code == 0, done.err
    link = parse_link(done.out.decode().strip())
    assert (link.host, link.port, link.name) == ("192.0.2.7", 5000, b"a.txt")
    assert link.b3 == (await digest_in_thread(world.directory / "here" / "a.txt")).digests.b3


async def test_a_link_of_a_tracker_for_this_machine_alone(world: World) -> None:
    world.files("here", a_txt=b"content")
    async with world.tracker("--local") as port:
        for tracker in (f"127.0.0.1:{port}", f"localhost:{port}"):
            done = await world.run("link", "here/a.txt", "-t", tracker)
            link = parse_link(done.out.decode().strip())
            assert (link.host, link.port) == ("127.0.0.1", port)


async def test_a_link_that_nobody_can_fulfil(world: World, photos: Program) -> None:
    link = await link_to(world, "cat.jpg")
    other = link[:-64] + "0" * 64
    done = await world.run("get", other, "-o", "copy.jpg")
    assert done.code == 3, done.err
    assert not (world.directory / "copy.jpg").exists()


@pytest.mark.parametrize("word", ["osp2p://x", "osp2p://h:1/n#b3=00", "osp2p:///n#b3=" + "0" * 64])
async def test_what_is_no_link_is_refused(world: World, word: str) -> None:
    for words in (["get", word], ["verify", "/dev/null", word]):
        done = await world.run(*words)
        assert done.code == 2
        assert done.err.count(b"\n") == 1


async def test_names_that_have_no_link(world: World, photos: Program) -> None:
    done = await world.run("link", "nobody-has-this")
    assert (done.code, done.out) == (3, b"")


async def test_a_directory_is_fetched_with_all_below_it(world: World, photos: Program) -> None:
    done = await world.run("get", "-r", "sub", "-o", "out/")
    assert done.code == 0, done.err
    found = {path.relative_to(world.directory / "out") for path in (world.directory / "out").rglob("*.txt")}
    assert found == {Path("sub/deep.txt"), Path("sub/more/deeper.txt")}
    assert (await world.run("get", "-r", "nothing")).code == 3
    assert (await world.run("get", "-r", "sub", "-o", "without-slash")).code == 0
    assert sorted(os.listdir(world.directory / "without-slash")) == ["sub"]


async def test_a_rate_limit_slows_a_fetch_down(world: World, photos: Program) -> None:
    done = await world.run("get", "cat.jpg", "--limit-down", "200kB/s", "--json")
    assert done.code == 0, done.err
    seconds = done.of("done")[0]["seconds"]
    assert isinstance(seconds, float)
    assert seconds > 1.5


async def test_a_seed_leaves_when_its_time_is_over(world: World, photos: Program) -> None:
    done = await world.run("get", "dog.txt", "--seed=0.1s")
    assert done.code == 0, done.err
    assert os.fsencode("dog.txt") in done.out


async def test_a_seed_with_nothing_to_share_does_not_stay(world: World, photos: Program) -> None:
    done = await world.run("get", "nothing.txt", "--seed")
    assert done.code == 3, done.err
    assert b"sharing" not in done.err


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["--seed", "a"], math.inf),
        (["a", "--seed"], math.inf),
        (["--seed=30s", "a"], 30),
        (["--seed=1.5h", "a"], 5400),
        (["--seed=10", "a"], 10),
        (["--seed=2d", "a"], 172_800),
        (["a"], None),
    ],
)
def test_how_long_a_seed_stays(words: list[str], seconds: float | None) -> None:
    arguments = get_parser().read(words)
    assert arguments.seed == seconds
    assert arguments.names == ["a"]


def test_a_duration_that_stands_apart_from_its_option_is_refused() -> None:
    for words in (["a", "--seed", "2h"], ["--seed", "30", "a"]):
        with pytest.raises(UsageError, match=r"write --seed=(2h|30)"):
            get_parser().read(words)
    assert get_parser().read(["2h", "--seed"]).names == ["2h"]
    assert get_parser().read(["--seed", "--", "2h"]).names == ["2h"]


@pytest.mark.parametrize(
    "words", [["--seed=", "a"], ["--seed=-1s", "a"], ["--seed=soon", "a"], ["--limit-up", "0", "a"], ["-r"]]
)
def test_what_is_no_duration_or_rate_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError):
        get_parser().read(words)


@pytest.mark.parametrize(("text", "rate"), [("5", 5), ("1kB/s", 1000), ("1KiB", 1024), ("2MB/s", 2_000_000)])
def test_rates_are_read(text: str, rate: int) -> None:
    arguments = get_parser().read(["--limit-up", text, "--limit-down", text, "a"])
    assert (arguments.limit_up, arguments.limit_down) == (rate, rate)


async def test_what_cannot_be_written_to_is_refused(world: World) -> None:
    os.mkfifo(world.directory / "pipe")
    for words in (["-o", "/dev/null"], ["-o", "pipe"], ["-o", "-", "--json"], ["-o", "-", "--seed"]):
        done = await world.run("get", "a", *words)
        assert done.code == 2
        assert done.err.count(b"\n") == 1
    assert not Path("/dev/null~1~").exists()
