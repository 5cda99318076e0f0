"""What scripts/bench measures: a file a topic. A row is a function that is marked with `row` of harness.py."""

from . import checkpoint, input, memory, overhead, start, step

__all__ = ["checkpoint", "input", "memory", "overhead", "start", "step"]
