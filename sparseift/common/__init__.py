"""Helpers for all packages: files, locks, signals, messages, checks, globs, console, seeds, SLURM. Imports only
`errors`.
"""
