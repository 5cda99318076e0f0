"""Files of tensors, against the library safetensors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sparseift.common.tensor_files import DTYPES, read_tensors
from sparseift.errors import Damaged


def test_every_type_as_the_library_writes_it(tmp_path) -> None:
    values = torch.tensor([[0.0, 1.0, 2.0], [-1.0, 3.5, 100.0]])
    tensors = {name: values.abs().to(dtype) for name, dtype in DTYPES.items()}
    tensors |= {"none": torch.empty(0, 3), "scalar": torch.tensor(1.5), "odd": torch.ones(5, dtype=torch.uint8)}
    save_file(tensors, tmp_path / "t.safetensors", metadata={"format": "pt"})
    read = read_tensors(tmp_path / "t.safetensors")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape, name
        assert torch.equal(read[name].view(torch.uint8) if tensor.dim() else read[name], _bytes(tensor)), name


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.uint8) if tensor.dim() else tensor


def written(path: Path, header: object, data: bytes = b"\0" * 8, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


def entry(**changes: object) -> dict[str, object]:
    return {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


@pytest.mark.parametrize(
    "header",
    [
        *(b"", b"{", b"[]", b"\xff", {"w": 3}, {"w": {}}),
        *(entry(dtype="F33"), entry(shape=[3]), entry(shape="ab"), entry(shape=[-1, -2])),
        *(entry(data_offsets=[0, 9]), entry(data_offsets=[4, 0]), entry(data_offsets=[-8, 8]), entry(data_offsets=[0])),
        *(entry(data_offsets=[0, 6]), entry(data_offsets=["a", "b"]), entry(data_offsets=[0, 0])),
    ],
    ids=str,
)
def test_damage(tmp_path, header: object) -> None:
    with pytest.raises(Damaged, match=r"t\.safetensors is damaged: ") as caught:
        read_tensors(written(tmp_path / "t.safetensors", header))
    assert "\n" not in str(caught.value)


def test_what_is_shorter_than_it_says(tmp_path) -> None:
    for content in (b"", b"\1", (2**62).to_bytes(8, "little") + b"{}"):
        (tmp_path / "t.safetensors").write_bytes(content)
        with pytest.raises(Damaged):
            read_tensors(tmp_path / "t.safetensors")
