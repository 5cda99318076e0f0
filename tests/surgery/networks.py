"""Networks of the tests of widening."""

import torch
from torch import Tensor, nn

X = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
HEADS = 2


class Wrapped(nn.Module):
    """stem -> middle -> mean -> head, with `width` channels."""

    def __init__(self, width: int):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, width, 1), nn.Linear(width, 5)
        self.build(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.stem(x)).mean((2, 3)))


class HeadsFirst(Wrapped):
    """Attention over pixels, with a reshape that has -1 for their number (CoAtNet)."""

    def build(self, width: int) -> None:
        self.heads, self.dim_head = HEADS, width // HEADS
        self.qkv, self.proj = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)
        self.bias = nn.Parameter(torch.randn(HEADS, 16, 16))

    def middle(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        q, k, v = self.qkv(x).view(n, self.heads, self.dim_head * 3, -1).chunk(3, dim=2)
        mixed = v @ (q.transpose(-2, -1) @ k + self.bias).softmax(-1).transpose(-2, -1)
        return self.proj(mixed.view(n, -1, h, w))
