"""The grid of scripts/evidence, its statistics and its figure."""
