"""The benchmarks of scripts/bench, one file per topic. `harness.row` registers a function as a benchmark."""
