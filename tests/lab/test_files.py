"""The files of a world are real, odd names and all, and the same in every run of a seed."""

from __future__ import annotations

import os
from pathlib import Path

from osp2p.lab.files import Pool, content_of
from osp2p.lab.table import File

FILES = (File("a", 1000), File("sub/deep/b c.txt", 5), File("empty", 0), File(b"raw \xff\n", 7))


def test_contents_are_a_function_of_seed_name_and_size() -> None:
    one = File("a", 100)
    assert content_of(one, 1) == content_of(File(b"a", 100), 1)
    assert len({content_of(one, 1), content_of(one, 2), content_of(File("b", 100), 1)}) == 3
    assert [len(content_of(file, 3)) for file in FILES] == [1000, 5, 0, 7]


def test_a_directory_holds_them_under_their_names(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool", 1)
    pool.lay_out(tmp_path / "anna", FILES)
    pool.lay_out(tmp_path / "ben", FILES[:1])
    found = {
        os.fsencode(path.relative_to(tmp_path / "anna")) for path in (tmp_path / "anna").rglob("*") if path.is_file()
    }
    assert found == {file.raw for file in FILES}
    assert (tmp_path / "anna" / "sub/deep/b c.txt").read_bytes() == content_of(FILES[1], 1)
    assert (tmp_path / "ben" / "a").samefile(tmp_path / "anna" / "a"), "made once"


def test_sameness_is_to_the_byte(tmp_path: Path) -> None:
    pool = Pool(tmp_path / "pool", 1)
    copy = tmp_path / "copy"
    assert not pool.is_same(copy, FILES[0])
    copy.write_bytes(content_of(FILES[0], 1))
    assert pool.is_same(copy, FILES[0])
    copy.write_bytes(content_of(FILES[0], 1)[:-1] + b"?")
    assert not pool.is_same(copy, FILES[0])
    copy.unlink()
    copy.mkdir()
    assert not pool.is_same(copy, FILES[2])
