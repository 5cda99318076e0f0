"""What each of several jobs gets of one machine."""

import subprocess
import sys
from pathlib import Path

import pytest

from sparseift.app.devices import gpus_of, jobs_at_once, slot_in

EIGHT = [str(index) for index in range(8)]


@pytest.mark.parametrize("devices", [1, 2, 3, 4, 8])
def test_slots_share_no_gpu_while_there_are_enough(devices: int) -> None:
    groups = [gpus_of(slot, EIGHT, devices) for slot in range(8 // devices)]
    used = [gpu for group in groups for gpu in group]
    assert all(len(group) == devices for group in groups)
    assert len(set(used)) == len(used)


def test_more_slots_than_gpus_take_turns() -> None:
    assert [gpus_of(slot, ["3", "5"], 1) for slot in range(5)] == [["3"], ["5"], ["3"], ["5"], ["3"]]


def test_a_job_of_more_devices_than_there_are_gets_them_all() -> None:
    assert gpus_of(1, ["0", "1"], 4) == ["0", "1"]


@pytest.mark.parametrize(
    ("visible", "accelerator", "devices", "jobs"),
    [("0,1,2,3", "auto", 1, 4), ("0,1,2,3", "gpu", 2, 2), ("GPU-a,GPU-b", "auto", 3, 1), ("0,1", "auto", "auto", 1)],
)
def test_jobs_at_once_with_gpus(monkeypatch, visible, accelerator, devices, jobs) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert jobs_at_once(accelerator, devices) == jobs


@pytest.mark.parametrize(("accelerator", "visible"), [("cpu", "0,1,2"), ("auto", "-1"), ("auto", "")])
def test_jobs_at_once_without_gpus(monkeypatch, accelerator: str, visible: str) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: 6)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [jobs_at_once(accelerator, devices) for devices in (1, 2, 8)] == [6, 3, 1]


def other_process(folder: Path) -> str:
    code = f"""
from pathlib import Path
from sparseift.app.devices import slot_in
with slot_in(Path({str(folder)!r})) as slot: print(slot)"""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_a_slot_is_held_by_one_process_at_a_time(tmp_path) -> None:
    with slot_in(tmp_path) as slot:
        assert slot == 0
        assert other_process(tmp_path) == "1"
    assert other_process(tmp_path) == "0"
    assert {path.name for path in tmp_path.iterdir()} == {".slot0.lock", ".slot1.lock"}  # files that are not locked
