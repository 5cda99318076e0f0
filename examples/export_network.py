"""Export the network of a finished run for Hugging Face's hub, and load it again: export_network.py RUN NEW_FOLDER"""

import sys
from pathlib import Path

import torch

import sparseift
from sparseift.app.publish import export_hub

run, folder = map(Path, sys.argv[1:])
print(export_hub(run, folder))

original, published = sparseift.load(run), sparseift.load(folder)
for name, tensor in original.network.state_dict().items():
    assert torch.equal(published.network.state_dict()[name], tensor), name
print(f"{len(list(folder.iterdir()))} files; {published.plan.ratio:.4f} of the dense FLOPs")
