"""The commands end to end, as processes: what they print where, and what they leave on the disk."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from osp2p.wire.checksum import write_md5
from tests.cli.processes import OSP2P, Program, Result, World

CAT = b"meow" * 100_000
HOSTILE = b"a\x1b[31m\xff.txt"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
async def port(world: World) -> AsyncIterator[int]:
    async with world.tracker() as port:
        yield port


@pytest.fixture
async def photos(world: World, port: int) -> AsyncIterator[Program]:
    directory = world.files("photos", cat_jpg=CAT, dog_txt=b"woof", empty=b"")
    (directory / "sub").mkdir()
    (directory / "sub" / "deep.txt").write_bytes(b"deep")
    (directory / os.fsdecode(HOSTILE)).write_bytes(b"x")
    async with world.sharer(directory, "--alias", "alice\x1b[2J") as program:
        yield program


# --- looking ---


async def test_ls(world: World, photos: Program) -> None:
    plain = await world.run("ls")
    assert (plain.code, plain.err) == (0, b"")
    assert plain.out.decode().splitlines() == [r"$'a\033[31m\377.txt'", "cat.jpg", "dog.txt", "empty", "sub/deep.txt"]
    long = await world.run("ls", "-l", "*.jpg", "sub/deep.txt")
    assert long.out.decode().splitlines() == ["  400 kB  cat.jpg", "     4 B  sub/deep.txt"]
    records = (await world.run("ls", "--json")).records
    assert [record["event"] for record in records] == ["file"] * 5
    assert (records[0]["name"], records[0]["wire"]) == ("a\x1b[31m%FF.txt", "a%1B%5B31m%FF.txt")
    assert records[1]["size"] == len(CAT)
    missing = await world.run("ls", "nope")
    assert (missing.code, missing.out) == (3, b"")


async def test_ls_writes_names_exactly_for_programs(world: World, photos: Program) -> None:
    exact = await world.run("ls", "-0")
    assert (exact.code, exact.err) == (0, b"")
    assert exact.out == HOSTILE + b"\0cat.jpg\0dog.txt\0empty\0sub/deep.txt\0"
    for words in (["-0", "-l"], ["-0", "--json"]):
        refused = await world.run("ls", *words)
        assert (refused.code, refused.out) == (2, b"")


async def test_what_ls_shows_on_a_terminal_can_be_pasted(world: World, port: int) -> None:
    names = [
        b"two words",
        b"don't",
        b"a\\x1b",
        b"\x1b]0;x\x07",
        b"a\nb",
        b"\xff\\377",
        b"$(id)!*",
        b"~x",
        b"gr\xc3\xb6\xc3\x9fe",
    ]
    directory = world.files("odd")
    for name in names:
        (directory / os.fsdecode(name)).write_bytes(name)
    async with world.sharer(directory):
        code, shown = await world.run_on_terminal("ls")
        words = shown.decode().splitlines()
        assert (code, len(words)) == (0, len(names))
        assert all(word.isprintable() for word in words)
        command = f"{shlex.join(map(os.fsdecode, OSP2P))} get -q -o new/ {' '.join(words)}"
        result = await world.run("-c", os.fsencode(command), program=("bash",))
    assert (result.code, result.out, result.err) == (0, b"", b"")
    new = world.directory / "new"
    assert {os.fsencode(path.name): path.read_bytes() for path in new.iterdir()} == {name: name for name in names}


async def test_what_a_pattern_leaves_out_is_said(world: World, photos: Program) -> None:
    listed = await world.run("ls", "*.txt")
    assert listed.err.decode() == "*.txt: '**/*.txt' matches 1 more file in sub-directories\n"
    fetched = await world.run("get", "*.txt", "deep*", "-o", "new/")
    assert fetched.code == 7
    assert "*.txt: '**/*.txt' matches 1 more file in sub-directories\n" in fetched.err.decode()
    assert "deep*: no file matches it; '**/deep*' matches 1 file in sub-directories\n" in fetched.err.decode()


async def test_who(world: World, photos: Program) -> None:
    plain = await world.run("who")
    assert plain.code == 0
    address, alias = plain.out.decode().split()
    assert alias == r"alice\x1b[2J"
    (record,) = (await world.run("who", "--json")).records
    assert (record["event"], record["alias"], record["address"]) == ("peer", "alice\x1b[2J", address)


async def test_checksums_agree(world: World, photos: Program) -> None:
    digest = hashlib.md5(CAT).digest()
    text = write_md5(digest).decode()
    for words in (("checksum", "cat.jpg"), ("md5", "photos/cat.jpg")):
        assert (await world.run(*words)).out.decode() == f"{text}\n"
        (record,) = (await world.run(*words, "--json")).records
        assert (record["event"], record["md5"], record["hex"]) == (words[0], text, digest.hex())
    assert (await world.run("checksum", "nope")).code == 3
    assert (await world.run("md5", "nope")).code == 2


# --- fetching ---


async def test_get_a_file_to_this_directory(world: World, photos: Program) -> None:
    here = world.files("here")
    result = await world.run("get", "cat.jpg", cwd=here)
    assert result.code == 0, result.err
    assert result.err == b""
    assert result.out.decode().startswith("cat.jpg -> cat.jpg: 400 kB from 1 source at ")
    assert b"verified by" in result.out
    assert os.listdir(here) == ["cat.jpg"]
    assert (here / "cat.jpg").read_bytes() == CAT


async def test_get_again_changes_nothing_and_other_content_stays(world: World, photos: Program) -> None:
    here = world.files("here", cat_jpg=CAT, dog_txt=b"mine")
    again = await world.run("get", "cat.jpg", cwd=here)
    assert (again.code, b"here already" in again.out) == (0, True)
    beside = await world.run("get", "dog.txt", cwd=here)
    assert b"dog.txt -> dog.txt~1~" in beside.out
    assert beside.err == b"dog.txt: dog.txt has other content, and stays: --force replaces it\n"
    assert ((here / "dog.txt").read_bytes(), (here / "dog.txt~1~").read_bytes()) == (b"mine", b"woof")
    once_more = await world.run("get", "dog.txt", cwd=here)
    assert b"dog.txt -> dog.txt~1~: 4 B, here already, verified by" in once_more.out
    assert not (here / "dog.txt~2~").exists()
    forced = await world.run("get", "--force", "dog.txt", cwd=here)
    assert (forced.code, forced.err) == (0, b"")
    assert (here / "dog.txt").read_bytes() == b"woof"


async def test_get_by_pattern_keeps_directories(world: World, photos: Program) -> None:
    result = await world.run("get", "**", "-o", "new/")
    assert result.code == 0, result.err
    assert b"5 of 5 files" in result.err
    new = world.directory / "new"
    found = {os.fsencode(path.relative_to(new)): path.read_bytes() for path in new.rglob("*") if path.is_file()}
    expected = {b"cat.jpg": CAT, b"dog.txt": b"woof", b"empty": b"", b"sub/deep.txt": b"deep", HOSTILE: b"x"}
    assert found == expected
    assert b"\x1b" not in result.out + result.err


async def test_a_directory_that_is_asked_for_as_a_file(world: World, photos: Program) -> None:
    result = await world.run("get", "sub", "nope", "-o", "new/")
    assert (result.code, result.out) == (3, b"")
    lines = result.err.decode().splitlines()
    assert "sub: 1 file below a directory of this name: -r fetches it" in lines
    assert not any(line.startswith("nope: ") and "-r" in line for line in lines)


async def test_a_directory_and_a_file_are_fetched_with_one_command(world: World, photos: Program) -> None:
    result = await world.run("get", "-r", "sub/", "dog.txt", "nope", "-o", "new")
    assert result.code == 7
    assert b"nope: nobody has it" in result.err
    new = world.directory / "new"
    assert (new / "sub" / "deep.txt").read_bytes() == b"deep"
    assert (new / "dog.txt").read_bytes() == b"woof"
    result = await world.run("get", "sub/", "dog.txt", "-o", "other")
    assert result.code == 2
    assert b"sub/ is a directory's name: -r fetches all that is below it" in result.err
    for word, hint in ((".", b"'**' stands for all"), ("./dog.txt", b"as `osp2p ls` shows them, without ./")):
        result = await world.run("get", "-r", word, "-o", "other")
        assert result.code == 2
        assert hint in result.err


async def test_a_name_that_was_mistyped(world: World, photos: Program) -> None:
    result = await world.run("get", "Cat.jpg", "deep.txt", HOSTILE.replace(b"\x1b[", b""), "-o", "new/")
    assert (result.code, result.out) == (3, b"")
    hints = [line for line in result.err.decode().splitlines() if "did you mean" in line]
    assert hints == [
        "Cat.jpg: did you mean cat.jpg?",
        "deep.txt: did you mean sub/deep.txt?",
        r"a31m\xff.txt: did you mean $'a\033[31m\377.txt'?",
    ]
    records = (await world.run("get", "--json", "dog.tx")).records
    assert [record["text"] for record in records if record["event"] == "remark"] == ["did you mean dog.txt?"]


async def test_get_to_one_file(world: World, photos: Program) -> None:
    assert (await world.run("get", "sub/deep.txt", "-o", "x")).code == 0
    assert (world.directory / "x").is_file()
    assert (await world.run("get", "sub/*", "-o", "album")).code == 0, "a pattern that matches one file"
    assert (world.directory / "album" / "sub" / "deep.txt").is_file()
    for where in ("x", "x/"):
        taken = await world.run("get", "sub/*", "-o", where)
        assert (taken.code, taken.out) == (2, b"")
        assert b"-o x/ is to be a directory, and a file is there" in taken.err
    assert (world.directory / "x").read_bytes() == b"deep"
    several = await world.run("get", "dog.txt", "cat.jpg", "-o", "y")
    assert (several.code, several.out) == (2, b"")
    assert several.err.startswith(b"osp2p get: -o y is one file and cannot hold 2")
    assert not (world.directory / "y").exists()
    assert (await world.run("get", "d*.txt", "c*.jpg", "-o", "y")).code == 0
    assert sorted(path.name for path in (world.directory / "y").iterdir()) == ["cat.jpg", "dog.txt"]


async def test_get_to_standard_output_in_the_order_of_the_names(world: World, photos: Program) -> None:
    result = await world.run("get", "cat.jpg", "dog.txt", "sub/deep.txt", "-o", "-")
    assert result.code == 0
    assert result.out == CAT + b"woof" + b"deep"
    assert b"dog.txt -> -: 4 B" in result.err


async def test_get_says_everything_as_records(world: World, photos: Program) -> None:
    result = await world.run("get", "cat.jpg", HOSTILE, "nope", "--json", "-o", "new/")
    assert result.code == 7
    done = {str(record["wire"]): record for record in result.of("done")}
    assert set(done) == {"cat.jpg", "a%1B%5B31m%FF.txt"}
    cat = done["cat.jpg"]
    assert (cat["size"], cat["verified"], cat["resumed"]) == (len(CAT), len(CAT), 0)
    assert cat["path"] == "new/cat.jpg"
    (failed,) = result.of("failed")
    assert (failed["name"], failed["error"], failed["exit"]) == ("nope", "NobodyHasIt", 3)
    assert result.records[-1]["event"] == "end"
    assert (result.records[-1]["arrived"], result.records[-1]["failed"], result.records[-1]["exit"]) == (2, 1, 7)


async def test_get_refuses_names_that_escape(world: World, photos: Program) -> None:
    result = await world.run("get", "../photos/dog.txt", "dog.txt", "-o", "new/")
    assert result.code == 7
    assert (world.directory / "new" / "dog.txt").read_bytes() == b"woof"
    assert b"../photos/dog.txt: a name is relative" in result.err


async def test_seeding_goes_on_until_a_signal(world: World, photos: Program) -> None:
    async with world.start("get", "dog.txt", "--seed", "-o", "seed/") as seed:
        await seed.heard("sharing what was fetched")
        assert await photos.end() == 0
        result = await world.run("get", "dog.txt", "-o", "x")
        assert result.code == 0, result.err
        assert await seed.end() == 0
    assert (world.directory / "x").read_bytes() == b"woof"


# --- sharing ---


async def test_share_with_a_tracker_of_its_own_says_what_to_type(world: World) -> None:
    directory = world.files("docs", only_txt=b"one")
    async with world.start("share", str(directory), "--host", "--tracker-port", "0") as program:
        command = shlex.split(await program.heard("osp2p get", program.out))
        assert command[:2] == ["osp2p", "get"]
        assert command[-1] == "only.txt"
        result = await world.run(*command[1:], "-o", "x")
        assert result.code == 0, result.err
        assert (world.directory / "x").read_bytes() == b"one"
        (directory / "two words.txt").write_bytes(b"two")
        assert "shared, 3 B" in await program.heard("two words.txt")
        (directory / "only.txt").unlink()
        await program.heard("only.txt: no longer shared")
        assert await program.end() == 0


async def test_single_files_are_shared_by_their_last_names(world: World, port: int) -> None:
    directory = world.files("docs", **{"film.mkv": b"film", ".rc": b"settings", "other": b"x"})
    async with world.start("share", str(directory / "film.mkv"), "docs/.rc", "docs/./.rc") as program:
        await program.heard("sharing 2 files; Ctrl-C ends it")
        assert program.err.count(b" registered at ") == 1
        assert (await world.run("ls")).out == b".rc\nfilm.mkv\n"
        assert (await world.run("get", "film.mkv", "-o", "-")).out == b"film"
        (directory / "film.mkv").unlink()
        await program.heard("film.mkv: no longer shared")
        assert await program.end() == 0


async def test_what_is_left_out_is_said(world: World, port: int) -> None:
    directory = world.files("docs", a=b"x")
    (directory / "link").symlink_to("/etc/passwd")
    async with world.start("share", str(directory)) as program:
        await program.heard("link: not shared")
        await program.heard("sharing 1 file of")


# --- the terminal, the pipe, the streams ---


async def test_a_terminal_sees_bars(world: World, photos: Program) -> None:
    code, shown = await world.run_on_terminal("get", "cat.jpg", "dog.txt", "-o", "new/")
    assert code == 0
    assert b"of 2 files" in shown
    assert b"\x1b" in shown
    assert shown.count(b"verified by") == 2


async def test_a_terminal_that_cannot_be_drawn_on_sees_lines(world: World, photos: Program) -> None:
    code, shown = await world.run_on_terminal("get", "cat.jpg", "dog.txt", "-o", "new/", TERM="dumb")
    assert code == 0
    assert b"\x1b" not in shown
    assert shown.count(b"verified by") == 2


async def test_a_reader_that_leaves_is_no_error(world: World, port: int) -> None:
    names = [f"file{number:04}{'x' * 100}" for number in range(2000)]  # more than a pipe holds
    directory = world.files("many", **dict.fromkeys(names, b""))
    async with world.start("share", str(directory), "--json") as program:
        await program.record("sharing")
        shell = f"set -o pipefail; {shlex.join(map(os.fsdecode, OSP2P))} ls | head -1"
        result = await world.run("-c", shell, program=("bash",))
    assert (result.out, result.err) == (f"{names[0]}\n".encode(), b"")
    assert result.code == 141


async def test_output_that_cannot_be_written(world: World, photos: Program) -> None:
    shell = f"{shlex.join(map(os.fsdecode, OSP2P))} ls > /dev/full"
    result = await world.run("-c", shell, program=("bash",))
    assert result.code == 8
    assert result.err.startswith(b"osp2p ls: cannot write to standard output: no space left on device")


# --- start-up ---


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["get", "--help"],
        ["share", "--help"],
        ["tracker", "--help"],
        ["lab", "--help"],
        ["ls", "-t", ":::"],
        ["get", "x", "--limit-up", "0"],
        ["get"],
        ["get", "x", "--nonsense"],
        ["nonsense"],
        [],
    ],
)
def test_help_and_mistakes_do_not_wait_for_trio(words: list[str]) -> None:
    script = (
        "import sys\nfrom osp2p.cli.main import main\n"
        f"code = main({words!r})\nassert 'trio' not in sys.modules\nsys.exit(code)"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30, check=False)
    if "--help" in words or "--version" in words:
        assert (result.returncode, result.stderr) == (0, b"")
        assert result.stdout
    else:
        assert (result.returncode, result.stdout) == (2, b"")
        assert len(result.stderr.splitlines()) == 1


def test_the_help_names_every_command_and_code() -> None:
    text = subprocess.run([*OSP2P, "--help"], capture_output=True, timeout=30, check=True, text=True).stdout
    for command in ("tracker", "share", "get", "ls", "who", "checksum", "md5", "lab"):
        assert f"\n  {command} " in text
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130):
        assert f"\n  {code:>3}  " in text


async def test_the_installed_command_is_the_same(world: World) -> None:
    program = Path(sys.executable).with_name("osp2p")
    results: list[Result] = [await world.run("--version", program=words) for words in ((str(program),), OSP2P)]
    assert results[0] == results[1]
