"""Train members with several seeds, and write a report. Finished runs are not repeated when the script starts again.

Arguments are overrides of all runs: recipe.epochs=30
"""

import sys
from pathlib import Path

import sparseift
from sparseift.report.program import report

FOLDER = Path("runs/sweep")
MEMBERS = {
    "dense": [],
    "sparse_wide": ["sparsity=0.75", "sparsifier.update_interval=20"],
    "sparse_parallel": ["sparsity=0.75", "sparsifier.update_interval=20"],
}
SEEDS = 3
COMMON = ["dataset=digits", "model.base_width=8", "trainer=cpu", "recipe.epochs=15", "resume=auto"]

for seed in range(SEEDS):
    for member, own in MEMBERS.items():
        place = f"hydra.run.dir={FOLDER}/{member}_seed{seed}"
        sparseift.run([*COMMON, f"member={member}", *own, f"seed={seed}", place, *sys.argv[1:]])

report([FOLDER], Path("runs/sweep_report"))
