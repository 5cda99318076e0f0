"""Heartbeats, by which the ranks of a run notice ranks that do not answer."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import distributed

POLL = 0.5
"""Seconds between two looks at the heartbeats, and between two heartbeats."""

SILENCE = 30.0
"""Seconds without a heartbeat after which a rank is reported."""

START = 120.0
"""Seconds without a first heartbeat after which a rank is reported. It may still import the package."""

LEFT = 2**40
"""Added to the count of a rank that has left the run."""


class Heartbeat:
    """Counts up in the store where the ranks meet, in a thread, until the context ends.

    Rank 0, which has the store, looks at the counts of the other ranks. They look at whether the store answers. Of
    these, rank 1 and the first rank of each node report.

    Args:
        rank: The rank of this process.
        local_rank: Its rank on its node.
        ranks: The number of ranks.
    """

    def __init__(self, rank: int, local_rank: int, ranks: int):
        self.rank = rank
        self._reports = rank < 2 or local_rank == 0
        watched = range(1, ranks) if rank == 0 else (0,)
        self._counts = dict.fromkeys(watched, 0)
        self._seen = dict.fromkeys(watched, -1)
        self._quiet = dict.fromkeys(watched, 0.0)
        self._names = {other: f"rank {other}" for other in watched}
        self._reported: set[int] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join(timeout=2 * POLL)  # it may wait for a store that does not answer

    @property
    def silent(self) -> str:
        """The names of the ranks that have been reported and have not answered since."""
        return ", ".join(self._names[other] for other in sorted(self._reported))

    def identify(self, other: int, process: int, host: str) -> None:
        """Note the process of a rank, which reports name. The store may know it later, or never."""
        self._names[other] = f"rank {other} (process {process} on {host})"

    def quiet_for(self, seconds: float) -> str:
        """The names of the ranks without a heartbeat for this time."""
        return ", ".join(self._names[other] for other, quiet in self._quiet.items() if quiet >= seconds)

    def reports(self) -> Iterator[str]:
        """Yield a line for each rank that has become silent or answers again. Call this every `POLL` seconds.

        Time in which this process itself is stopped does not count.
        """
        for other, count in self._counts.items():
            news = count != self._seen[other] or count >= LEFT
            self._seen[other] = count
            self._quiet[other] = 0.0 if news else self._quiet[other] + POLL
            patience = SILENCE if count or distributed.is_initialized() else START  # all ranks have met by then
            if self._quiet[other] >= patience and other not in self._reported:
                self._reported.add(other)
                if self._reports:
                    yield f"{self._names[other]} has not answered for {patience:.0f} s; the run waits for it"
            elif news and other in self._reported:
                self._reported.remove(other)
                if self._reports:
                    yield f"{self._names[other]} answers again"

    def _beat(self) -> None:
        try:
            store = self._store()
            if store is None:
                return
            store.set(f"process/{self.rank}", f"{os.getpid()} {socket.gethostname()}")
            unknown = set(self._counts)
            while True:
                store.add(f"count/{self.rank}", 1)
                for other in self._counts:
                    # The store of a rank that looks at rank 0 answers with its own count.
                    self._counts[other] = store.add(f"count/{other if self.rank == 0 else self.rank}", 0)
                for other in [other for other in unknown if store.check([f"process/{other}"])]:
                    process, host = store.get(f"process/{other}").decode().split(maxsplit=1)
                    self.identify(other, int(process), host)
                    unknown.remove(other)
                if self._over.wait(POLL):
                    break
            store.add(f"count/{self.rank}", LEFT)
        except RuntimeError:  # the store has ended, and rank 0 with it
            return

    def _store(self) -> distributed.PrefixStore | None:
        """Connect to the store of `torch.distributed` once rank 0 has opened it. None: the run ends first."""
        while not self._over.wait(POLL / 5):
            if "MASTER_PORT" not in os.environ:
                continue
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            with suppress(OSError):
                socket.create_connection((address, port), timeout=10 * POLL).close()  # the store would print warnings
                break
        else:
            return None
        store = distributed.TCPStore(address, port, is_master=False, wait_for_workers=False)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return distributed.PrefixStore(f"sparseift/heartbeat/{attempt}", store)
