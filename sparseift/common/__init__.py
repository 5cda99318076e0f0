"""Helpers without a subject of their own: files, the console, seeds, SLURM. Imports nothing but `errors`."""
