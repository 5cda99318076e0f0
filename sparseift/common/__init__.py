"""Helpers that every package may use: files, locks, signals, messages, checks of values, globs, the console, seeds, and
the environment of SLURM. Imports `errors` only.
"""
