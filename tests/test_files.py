"""Files that are written whole or not at all."""

import errno
import re

import pytest
import tiny

from deepaug.files import whole


def test_a_file_takes_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with whole(path) as partial:
        partial.write_text("after")
        assert path.read_text() == "before" and partial.parent == tmp_path
    assert tiny.tree(tmp_path) == {"a.txt": b"after"}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_what_is_interrupted_leaves_the_file_before_it(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(type(error)), whole(path) as partial:
        partial.write_text("af")
        raise error
    assert tiny.tree(tmp_path) == {"a.txt": b"before"}


def test_a_file_that_was_taken_away_meanwhile_is_not_taken_for_written(tmp_path):
    with pytest.raises(FileNotFoundError), whole(tmp_path / "a.txt") as partial:
        partial.unlink()
    assert tiny.tree(tmp_path) == {}


def test_a_disk_that_fills_is_told_with_the_files_name(tmp_path):
    """Writing fails without one."""
    path = tmp_path / "a.csv"
    with pytest.raises(OSError, match=re.escape(str(path))), whole(path):
        raise OSError(errno.ENOSPC, "No space left on device")
