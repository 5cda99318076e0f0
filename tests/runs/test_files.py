"""What is read of files of a run folder is plain and bounded, and everything else is a `UserError` of one line."""

import json
import math
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseift import UserError
from sparseift.runs import files
from sparseift.runs.files import files_of, present, read_end, read_json, read_table, read_yaml

READERS = (read_json, read_yaml, read_table, read_end)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(TREES)
@settings(max_examples=40)
def test_plain_content_comes_back(tmp_path_factory, tree) -> None:
    path = tmp_path_factory.getbasetemp() / "tree"
    path.write_text(json.dumps(tree))
    assert read_json(path) == tree


@given(TREES)
@settings(max_examples=40)
def test_yaml_is_read_as_the_library_reads_it(tmp_path_factory, tree) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert read_yaml(path) == yaml.safe_load(path.read_text()) == tree


@given(st.binary())
def test_any_bytes_are_read_or_refused(tmp_path_factory, content) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    path.write_bytes(content)
    for read in READERS:
        try:
            read(path)
        except UserError as error:
            assert "\n" not in str(error) and str(error).startswith("bytes is damaged: ")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (os.mkfifo, "file is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "file is not a regular file"),
        (Path.mkdir, "file cannot be read: Is a directory"),
        (lambda path: path.symlink_to(path), "file cannot be read: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "file cannot be read: No such file or directory"),
    ],
    ids=["pipe", "device", "folder", "circle", "nothing"],
)
def test_only_regular_files_are_read(tmp_path, read, make, told) -> None:
    make(tmp_path / "file")
    assert present(tmp_path / "file")
    with pytest.raises(UserError) as error:
        read(tmp_path / "file")
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("read", "limit"), [(read_json, "LARGEST_JSON"), (read_yaml, "LARGEST_YAML"), (read_table, "LARGEST_TABLE")]
)
def test_large_files_are_refused_and_the_largest_is_not(tmp_path, monkeypatch, read, limit) -> None:
    monkeypatch.setattr(files, limit, 4)
    (tmp_path / "file").write_text("1234")
    read(tmp_path / "file")
    (tmp_path / "file").write_text("12345")
    with pytest.raises(UserError, match="file has more than 4 bytes"):
        read(tmp_path / "file")


def test_the_end_of_a_large_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "LONGEST_END", 4)
    (tmp_path / "file").write_text("12345")
    assert read_end(tmp_path / "file") == "2345"


@pytest.mark.parametrize("depth", [files.DEEPEST, files.DEEPEST + 1, 300, 100_000])
@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_depth(tmp_path, read, depth) -> None:
    (tmp_path / "file").write_text("[" * depth + "]" * depth)
    if depth <= files.DEEPEST:
        read(tmp_path / "file")
    else:
        with pytest.raises(UserError, match="file is damaged: "):
            read(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("&a [*a]", "it has aliases"),
        ("{a: &a [1], b: *a}", "it has aliases"),
        ("!!set {a}", "a value of the type set"),
        ("2020-01-01", "a value of the type date"),
        ("!!python/name:os.abort x", "could not determine a constructor"),
        ("0x" + "f" * 4200, "Exceeds the limit"),
        (":".join(["1"] * 4000), "a number of more than 4,300 characters"),
        ("a: 1\n---\nb: 1", "expected a single document"),
    ],
)
def test_yaml_that_no_run_writes(tmp_path, text, told) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(UserError, match=told):
        read_yaml(tmp_path / "file")


def test_keys_are_text(tmp_path) -> None:
    (tmp_path / "file").write_text("{2: a, null: b, true: {2.5: c}}")
    assert read_yaml(tmp_path / "file") == {"2": "a", "None": "b", "True": {"2.5": "c"}}


def test_text_with_lone_surrogates_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text(r'["\ud800"]')
    for read in (read_json, read_yaml):
        with pytest.raises(UserError, match="file is damaged"):
            read(tmp_path / "file")


def test_tables(tmp_path, monkeypatch) -> None:
    (tmp_path / "file").write_text("step,a,,b\n1,,5,nan\n2,3\n\n4,5,6,inf,8\n")
    first, second, third = read_table(tmp_path / "file")
    assert first.pop("b") != first and first == {"step": 1} and second == {"step": 2, "a": 3}
    assert third == {"step": 4, "a": 5, "b": math.inf}
    monkeypatch.setattr(files, "MOST_CELLS", 5)
    with pytest.raises(UserError, match="more than 5 values"):
        read_table(tmp_path / "file")


def test_files_of_preprocessing_lie_in_the_run_folder(tmp_path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for path in (run / "tokenizer.json", tmp_path / "secret"):
        path.write_text("{}")
    described = {"_target_": "x", "file": "tokenizer.json", "other": "../secret", "size": 8, "missing": "none.json"}
    assert files_of(run, described) == ["tokenizer.json"]
    assert files_of(run, None) == []
