"""python -m sparseift.report RUNS...: tables, figures and a page of any number of runs. Imports `runs`, not torch.

The data goes through `runs.read` (folders), `rows` and `statistics` (runs of equal settings), `tables` and `figures`,
and `page`. The command is in `program`. `differences` compares two runs.
"""
