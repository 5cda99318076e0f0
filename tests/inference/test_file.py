"""The size of compact files, and files that are damaged or not of this program."""

import json

import pytest
import torch
from safetensors.torch import load, save_file

from sparseift import UserError
from sparseift import load as load_network
from sparseift.errors import Damaged
from sparseift.inference import capture, read, write

from .nets import MASKED, SHAPE, made


@pytest.fixture(scope="module")
def captured():
    net, masks = made()
    names = [f"{name}.weight" for name in MASKED]
    return *capture(net, torch.empty(1, *SHAPE, device="meta"), names), {
        f"{name}.weight": masks[name] for name in masks
    }


@pytest.fixture
def written(captured, tmp_path):
    program, tensors, masks = captured
    write(tmp_path / "net.safetensors", program, tensors, masks, {"note": 1})
    return tmp_path / "net.safetensors"


@pytest.mark.parametrize("density", [0.05, 0.25, 0.5])
def test_the_size_falls_with_the_density(tmp_path, density: float) -> None:
    """Four bytes an active weight, one bit a weight, the dense tensors, and the graph and names."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(400, 500), torch.nn.ReLU(), torch.nn.Linear(500, 10))
    mask = torch.rand_like(net[0].weight) < density
    net[0].weight.data *= mask
    program, tensors = capture(net, torch.empty(1, 400))
    write(tmp_path / "net.safetensors", program, tensors, {"0.weight": mask}, {})
    others = sum(parameter.numel() for parameter in net.parameters()) - mask.numel()
    expected = 4 * int(mask.sum()) + mask.numel() // 8 + 4 * others
    assert 0 < (tmp_path / "net.safetensors").stat().st_size - expected < 2500


def test_what_was_written_is_read(captured, written) -> None:
    program, tensors, masks = captured
    again, found, about = read(written)
    assert again == program and about == {"note": 1} and found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        dense = found[name].dense() if name in masks else found[name]
        assert torch.equal(dense, tensor)
        assert name not in masks or torch.equal(found[name].mask(), masks[name])
    assert load(written.read_bytes())["first.weight.values"].shape == (int(masks["first.weight"].sum()),)


@pytest.mark.parametrize("place", [0, 5, 100, -2000, -1])
def test_a_truncated_file(written, place: int) -> None:
    written.write_bytes(written.read_bytes()[:place])
    with pytest.raises(
        UserError, match=r"net.safetensors is damaged, or not a file of sparseift.export --format sparse: "
    ):
        read(written)


def test_every_changed_bit_is_noticed(written) -> None:
    content = written.read_bytes()
    for place in torch.randint(len(content), (60,), generator=torch.Generator().manual_seed(0)).tolist():
        changed = bytearray(content)
        changed[place] ^= 4
        written.write_bytes(changed)
        with pytest.raises(UserError) as error:
            read(written)
        assert "\n" not in str(error.value)


def test_files_of_other_programs(tmp_path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    torch.save({"a": torch.ones(2)}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"a.safetensors is not a file of sparseift.export --format sparse"):
        load_network(tmp_path / "a.safetensors")
    with pytest.raises(UserError, match=r"a.pt is damaged, or not a file of sparseift.export --format sparse"):
        load_network(tmp_path / "a.pt")


def test_a_later_version(written, captured, monkeypatch) -> None:
    monkeypatch.setattr("sparseift.inference.file.VERSION", 2)
    with pytest.raises(UserError, match=r"the format of .* is version 1; expected 2"):
        read(written)


@pytest.mark.parametrize(
    "target",
    [
        *("os.system", "sparseift.tasks.os.system", "sparseift.data.images.preprocessing.Path", "builtins.print"),
        *("sparseift.data.images.preprocessing.require", "sparseift.tasks.base.Any"),
    ],
)
def test_no_code_of_others_is_called(captured, tmp_path, target: str) -> None:
    program, tensors, masks = captured
    about = {"task": {"_target_": target}, "preprocessing": None, "files": {}}
    write(tmp_path / "net.safetensors", program, tensors, masks, about)
    with pytest.raises(UserError, match=r"net.safetensors cannot be loaded: "):
        load_network(tmp_path / "net.safetensors")


def test_operators_of_files_are_refused(captured, tmp_path, monkeypatch) -> None:
    """Also with a checksum that is right."""
    program, tensors, masks = captured
    content = program.as_dict()
    content["nodes"].append([10**6, "aten.from_file.default", [str(tmp_path / "x"), True, 100], {}])
    monkeypatch.setattr(type(program), "as_dict", lambda self: json.loads(json.dumps(content)))
    write(tmp_path / "net.safetensors", program, tensors, masks, {})
    with pytest.raises(UserError, match=r"a network of a compact file cannot call aten.from_file.default"):
        read(tmp_path / "net.safetensors")
    assert not (tmp_path / "x").exists()


def test_damage_is_an_error_of_its_own(written) -> None:
    content = bytearray(written.read_bytes())
    content[-3] ^= 1
    written.write_bytes(content)
    with pytest.raises(Damaged, match="its checksum differs"):
        read(written)
