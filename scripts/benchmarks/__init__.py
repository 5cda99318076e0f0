"""What scripts/bench measures: a file a topic. A row is a function that is marked with `row` of harness.py."""

from . import checkpoint, input, start, step, update

__all__ = ["checkpoint", "input", "start", "step", "update"]
