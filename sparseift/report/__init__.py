"""python -m sparseift.report RUNS...: what a sweep has shown, as tables, figures and a page.

The way of the data: folders -> runs (`runs`) -> rows of equal settings with their statistics (`rows`, `statistics`) ->
tables, figures and report.html. Imports `runs`, and not torch.
"""
