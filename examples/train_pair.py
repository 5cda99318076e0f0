"""Train a dense network and its sparse replacement at equal FLOPs. Arguments are overrides of both: recipe.epochs=30"""

import sys

import sparseift

COMMON = ["dataset=digits", "model.base_width=8", "trainer=cpu", "recipe.epochs=15"]

dense = sparseift.run([*COMMON, "member=dense", *sys.argv[1:]])
sparse = sparseift.run(
    [*COMMON, "member=sparse_wide", "sparsity=0.75", "sparsifier=rigl", "sparsifier.update_interval=20", *sys.argv[1:]]
)

for run in (dense, sparse):
    flops, params = run.results["flops"], run.results["params"]
    cost = f"{flops['forward']:,} FLOPs per sample, {params['active']:,} of {params['stored']:,} parameters active"
    print(f"{run.results['member']}: {run.metric.label} {run.score:.2f} {run.metric.unit}, {cost}, in {run.folder}")
