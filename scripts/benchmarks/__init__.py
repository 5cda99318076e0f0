"""What scripts/bench measures: a file a topic. A row is a function that is marked with `row` of harness.py."""
