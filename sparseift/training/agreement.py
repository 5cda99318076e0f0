"""What the ranks of a run agree on between steps, without waiting for their devices."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import distributed


class Agreement:
    """Finds the largest of a number that each rank has, over a connection of the hosts.

    A collective on the device would have the host wait until the device has done all that it was asked for. This one
    is of gloo, between the hosts, and an answer is not read before the next step. Make it, and call its methods, on all
    ranks alike.

    Args:
        ranks: The number of ranks.
    """

    def __init__(self, ranks: int):
        self._group: Any = distributed.new_group(backend="gloo") if ranks > 1 else None
        self._pending: tuple[np.ndarray, distributed.Work | None] | None = None

    def now(self, number: int) -> int:
        """Return the largest number. Waits for all ranks."""
        return max(self.of_last_call(number), self._answer()) if self._group else number

    def of_last_call(self, number: int) -> int:
        """Return the largest number of the last call, or 0 if there is none; of one rank alone, `number` itself.

        A rank that has called twice thus waits for those that have not called once.
        """
        if self._group is None:
            return number
        answer, own = self._answer(), np.array([number])
        work = distributed.all_reduce(torch.from_numpy(own), distributed.ReduceOp.MAX, group=self._group, async_op=True)
        self._pending = own, work
        return answer

    def _answer(self) -> int:
        pending, self._pending = self._pending, None
        if pending is None:
            return 0
        numbers, work = pending
        if work:
            work.wait()
        return int(numbers[0])
