"""Keeping memory is asked of the C library once, quietly, and never against what the environment says."""

import os
import subprocess
import sys

import pytest

from piza.model.accelerate import memory

ASK = "from piza.model.accelerate.memory import keep_memory; print(keep_memory())"


def asked(**environment: str) -> str:
    """What a fresh process says, in which nothing else has been told to the C library."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", ASK]
    done = subprocess.run(command, env=plain | environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.strip()


@pytest.mark.skipif("CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", {}), reason="not glibc")
def test_glibc_is_told():
    assert asked() == "True"


def test_the_environment_has_the_last_word():
    assert asked(MALLOC_TRIM_THRESHOLD_="1000000") == "False"
    assert asked(GLIBC_TUNABLES="glibc.malloc.tcache_count=3") == "False"


@pytest.mark.parametrize("version", [None, "musl 1.2"])
def test_other_libraries_are_left_alone(monkeypatch, version):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(memory.os, "confstr", lambda name: version, raising=False)
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("it was asked"))
    assert not memory.keep_memory()


def test_a_system_without_such_a_question(monkeypatch):
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delattr(memory.os, "confstr", raising=False)
    assert not memory.keep_memory()
