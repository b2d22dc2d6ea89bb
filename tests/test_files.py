import errno
import json
import os
import signal

import pytest
from tests.processes import in_child

from piza.errors import InputError
from piza.files import (
    atomic_folder,
    atomic_write,
    check_not_read,
    is_temporary,
    one_writer,
    parse_json,
    sweep_temporary,
)


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


@pytest.mark.parametrize("where", ["missing/answer.json", ".", "x" * 300 + "/a.json", "a\0.json"])
def test_a_place_that_cannot_be_written_is_an_input_error(tmp_path, where):
    with pytest.raises(InputError, match=r"cannot write|zero byte"), atomic_write(tmp_path / where):
        pass


@pytest.mark.skipif(
    not os.path.isdir("/proc"), reason="a folder in which nobody can write is needed, root included"
)
def test_a_file_that_cannot_be_made_is_told_by_its_own_name():
    with (
        pytest.raises(InputError, match=r"cannot write '/proc/x.json': ") as refused,
        atomic_write("/proc/x.json") as part,
    ):
        part.write_text("{}")
    assert "piza-" not in str(refused.value)


def test_json_that_names_a_field_twice_is_refused():
    assert parse_json(b'{"a": [{"b": 1}, {"b": 2}]}', "x.json") == {"a": [{"b": 1}, {"b": 2}]}
    with pytest.raises(InputError, match=r"^x.json: the field 'b' is given twice$"):
        parse_json('[{"a": {"b": 1, "c": 2, "b": 1}}]', "x.json")
    with pytest.raises(json.JSONDecodeError):
        parse_json("[", "x.json")


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_umask_decides_about_the_mode(umask, mode, tmp_path):
    """Whatever the writer chose: the library that writes weights makes its files private."""
    before = os.umask(umask)
    try:
        with atomic_write(tmp_path / "weights.safetensors") as temporary:
            os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == mode


def test_the_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(os.readlink(f"/proc/self/fd/{fd}")) or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append("replace") or replace(a, b))
    with atomic_write(tmp_path / "answer.json") as temporary:
        temporary.write_text("new")
    assert calls == [str(temporary), "replace", str(tmp_path)]


def test_a_full_disk_is_an_input_error_that_names_the_file(tmp_path):
    with (
        pytest.raises(InputError, match=r"answer\.json.*No space"),
        atomic_write(tmp_path / "answer.json"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_files_of_killed_writes_are_swept_and_those_of_running_ones_are_not(tmp_path):
    def killed_within():
        with atomic_write(tmp_path / "answer.json") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed_within) == signal.SIGKILL
    (left,) = os.listdir(tmp_path)
    (tmp_path / ".gitignore").write_text("")
    (tmp_path / ".notes.0011aabb.json").write_text("a person's own")
    assert is_temporary(left) and not is_temporary("answer.json")
    with atomic_write(tmp_path / "other.json") as running:  # the first write of this process in this folder
        assert left not in os.listdir(tmp_path)
        running.write_text("being written")
        assert sweep_temporary(tmp_path) == 0 and running.exists()
    assert sorted(os.listdir(tmp_path)) == [".gitignore", ".notes.0011aabb.json", "other.json"]


def test_files_of_another_host_are_swept_after_a_day(tmp_path):
    old, new = (tmp_path / f".a.piza-{host}-7-00112233.bin" for host in ("00000000", "00000001"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (1, 1))
    assert sweep_temporary(tmp_path) == 1 and os.listdir(tmp_path) == [new.name]
    assert sweep_temporary(tmp_path / "missing") == 0


def test_a_folder_appears_whole_and_what_a_killed_one_left_is_swept(tmp_path):
    def killed_within():
        with atomic_folder(tmp_path / "model") as folder:
            (folder / "half.json").write_text("{")
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed_within) == signal.SIGKILL
    assert not (tmp_path / "model").exists() and len(os.listdir(tmp_path)) == 1
    (tmp_path / "model").mkdir()  # an empty one is taken
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "a.json").write_text("{}")
        assert not any((tmp_path / "model").iterdir())
    assert os.listdir(tmp_path) == ["model"] and os.listdir(tmp_path / "model") == ["a.json"]
    with pytest.raises(InputError, match="new or empty"), atomic_folder(tmp_path / "model"):
        pass
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "other"):
        raise RuntimeError
    assert os.listdir(tmp_path) == ["model"]


def test_a_name_of_as_many_bytes_as_there_may_be(tmp_path):
    target = tmp_path / f"{'車' * 83}.json"  # 254 bytes of 255
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert os.listdir(tmp_path) == [target.name]


def test_what_is_read_is_not_written_whatever_it_is_called(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "link.png").symlink_to("a.png")
    check_not_read([tmp_path / "b.png"], [tmp_path / "a.png", "x" * 5000, "\0"])
    for name in ("a.png", "link.png", "../" + tmp_path.name + "/a.png"):
        with pytest.raises(InputError, match="is read by the same command"):
            check_not_read([tmp_path / name], [tmp_path / "a.png"])


def test_one_process_writes_to_a_folder_and_what_it_forked_keeps_nobody_out(tmp_path):
    ready, done = os.pipe(), os.pipe()
    with one_writer(tmp_path):
        with pytest.raises(InputError, match="another process is writing"), one_writer(tmp_path):
            pytest.fail("two are in")
        child = os.fork()
        if child == 0:  # lives on, as a worker of a killed training does for some seconds
            os.write(ready[1], b"x")
            os.read(done[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
    try:
        with one_writer(tmp_path):
            pass
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)
        for end in (*ready, *done):
            os.close(end)
