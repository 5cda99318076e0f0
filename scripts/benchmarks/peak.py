"""Train for three steps and print the peak memory as JSON.

Usage: peak.py MEMBER KIND SPARSITY WIDTH IMAGE. KIND is 'without masks', or 'rigl', which updates the masks in the
second step. The output has the peak in bytes and three numbers of weights: `stored` in the network, `masked` in its
masked layers, and `largest` in the largest masked layer.
"""

import json
import re
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from sparseift import Masks, sparsify
from sparseift.models import resnet18_cifar
from sparseift.sparsifiers import RigL, Update

BATCH = 4


def main(member: str, kind: str, sparsity: str, width: str, image: str) -> None:
    images = torch.randn(BATCH, 3, int(image), int(image))
    dense = resnet18_cifar(100, 3, int(width))
    net, plan = sparsify(dense, member, float(sparsity), images)
    masks = Masks.random(net, plan, seed=0) if kind != "without masks" else Masks(net, {})
    masks.apply()
    rigl = RigL(update_interval=2, begin=0.0, end=1.0, drop_fraction=0.3, anneal="constant")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    for step in (1, 2, 3):
        optimizer.zero_grad()
        F.cross_entropy(net(images), torch.arange(BATCH)).backward()
        if kind == "rigl" and rigl.due(step, 100):
            rigl.update(masks, [optimizer], Update(step, 100, seed=0))
        masks.mask_gradients()
        optimizer.step()
    sizes = [layer.numel for layer in plan.masked.values()]
    # Not getrusage: its peak includes the memory of the parent process at the time of the fork.
    most = 1024 * int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1])
    print(json.dumps({"peak": most, "stored": plan.params_stored, "masked": sum(sizes), "largest": max(sizes)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
