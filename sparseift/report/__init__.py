"""python -m sparseift.report: tables, figures and a page of any number of runs. Imports `runs`, not torch.

`rows` groups runs with equal settings, `statistics` compares them, `tables` and `figures` show them, and `page` writes
the report. `differences` compares two runs.
"""
