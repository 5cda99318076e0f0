"""Downloads of several processes into one folder. Locks are of open files, so threads stand for processes here."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sparseift.data.download import download_into


def test_one_at_a_time(tmp_path: Path) -> None:
    root, seen = tmp_path / "data" / "set", []

    def fetch() -> None:
        seen.append("begins")
        time.sleep(0.1)
        seen.append("ends")

    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda _: download_into(root, "set", fetch, "no"), range(3)))
    assert seen == 3 * ["begins", "ends"]
