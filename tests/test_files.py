import os

import pytest

from piza.errors import InputError
from piza.files import atomic_write


def test_the_file_appears_whole_and_only_at_the_end(tmp_path):
    target = tmp_path / "answer.json"
    with atomic_write(target) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".json"
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["answer.json"]


def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path):
    target = tmp_path / "answer.json"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["answer.json"]


@pytest.mark.parametrize("where", ["missing/answer.json", ".", "x" * 300 + "/a.json"])
def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path, where):
    with pytest.raises(InputError, match="cannot write"), atomic_write(tmp_path / where):
        pass
