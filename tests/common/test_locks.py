"""Locks between processes."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from sparseift.common.locks import Timeout, locked

HOLD = """
import os, sys, time
from pathlib import Path
from sparseift.common.locks import locked
with locked(Path(sys.argv[1])):
    if len(sys.argv) > 2 and os.fork() == 0:  # as a worker of a data set
        os._exit(0)
    print("held", flush=True)
    time.sleep(600)
"""


def holder(file, *arguments: str) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("arguments", [(), ("fork",)], ids=["alone", "after a child has ended"])
def test_the_lock_of_a_killed_process_is_free(tmp_path, arguments) -> None:
    file = tmp_path / "lock"
    with holder(file, *arguments) as other:
        began = time.monotonic()
        with pytest.raises(Timeout), locked(file, timeout=0.3):
            pytest.fail("held twice")
        assert time.monotonic() - began >= 0.3
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with locked(file, timeout=5):
            pass
    assert file.exists()  # deleting it is not safe on network file systems


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_file_systems_without_locks(tmp_path, monkeypatch, number: int) -> None:
    def refuse(*_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path / "lock", timeout=0), locked(tmp_path / "lock", timeout=0):
        pass


def test_an_error_frees_the_lock(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", timeout=0):
        raise ZeroDivisionError
    with locked(tmp_path / "lock", timeout=0):
        pass


def test_whoever_waits_for_a_lock_that_goes_with_its_folder_locks_a_new_one(tmp_path) -> None:
    file = tmp_path / "run/lock"
    file.parent.mkdir()
    entered = threading.Event()

    def wait() -> None:
        with locked(file, timeout=20):
            entered.set()
            with pytest.raises(Timeout), locked(file, timeout=0):
                pytest.fail("held twice")

    with locked(file):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not entered.wait(0.2)
        shutil.rmtree(file.parent)
    waiting.join(20)
    assert entered.is_set() and file.exists()
