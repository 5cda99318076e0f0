"""What is drawn is what was measured; what has no data is not drawn."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.colors import to_hex

from sparseift.report.figures import draw
from sparseift.report.rows import sections
from sparseift.report.style import inline, looks, save
from sparseift.runs.read import find_runs

from .conftest import WIDE
from .folders import write_metrics, write_run

OKABE_ITO = {"#000000", "#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7"}


@pytest.fixture
def drawn(runs):
    (section,) = sections(runs)
    return {figure.name.removeprefix("digits_resnet18_cifar_"): figure for figure in draw(section)}


def test_what_there_is_data_for(drawn) -> None:
    assert set(drawn) == {"score_flops", "score_sparsity", "density_depth", "exploration"}


def test_left_out_where_nothing_is_sparse(tmp_path) -> None:
    write_run(tmp_path / "dense")
    (section,) = sections(find_runs([tmp_path]))
    assert [figure.name for figure in draw(section, "dense")] == ["dense_score_flops"]


def test_points_at_the_limit_of_an_axis_are_drawn_whole(drawn) -> None:
    points = [line for axes in drawn["exploration"].figure.axes for line in axes.lines]
    assert points and not any(line.get_clip_on() for line in points)


def test_accuracy_against_flops(drawn) -> None:
    way, end = drawn["score_flops"].figure.axes
    mean = 100 * sum(WIDE.values()) / 3
    expected = np.array([(61e6 * share, mean * share) for share in (0.25, 0.5, 0.75, 1)])
    assert any(np.allclose(line.get_xydata(), expected) for line in way.lines)
    points = [tuple(line.get_xydata()[0]) for line in end.lines]
    assert len(points) == 3 and (61e6, pytest.approx(mean)) in points
    assert {x for x, _ in points} == {61e6}


def test_the_dense_band_and_error_bars(drawn) -> None:
    (axes,) = drawn["score_sparsity"].figure.axes
    (band,) = axes.patches
    (_, low), (_, high) = band.get_extents().transformed(axes.transData.inverted()).get_points()
    assert (low, high) == pytest.approx((90, 92))  # 91 with a deviation of 1
    stems = [segment[:, 1] for bars in axes.collections for segment in bars.get_segments()]
    assert any(list(stem) == pytest.approx([93.8333 - 0.7638, 93.8333 + 0.7638], abs=1e-3) for stem in stems)


def test_density_by_depth(drawn) -> None:
    (axes,) = drawn["density_depth"].figure.axes
    assert len(axes.lines) == 2  # the dense rows mask nothing
    for line in axes.lines:
        assert line.get_xydata().tolist() == [[3 / 6, 0.25]]  # the first and the last layer are not masked


def test_exploration(drawn) -> None:
    (axes,) = drawn["exploration"].figure.axes
    assert axes.get_title() == "fraction of active weights replaced"
    (line,) = axes.lines
    assert list(line.get_xdata()) == pytest.approx([0.25, 0.5, 0.75, 1]) and set(line.get_ydata()) == {0.1}


def test_masks_that_never_move_explore_nothing(tmp_path) -> None:
    """Both have the first mask's shares; one of them is updated."""
    wide = {"member": "sparse_wide", "sparsity": 0.75}
    first = {"masks/itop": 0.25, "masks/density": 0.25}
    write_run(tmp_path / "rigl", sparsifier="rigl", columns={**first, "masks/replaced": 0.1}, **wide)
    write_run(tmp_path / "static", sparsifier="static", columns=first, **wide)
    (section,) = sections(find_runs([tmp_path]))
    (figure,) = (one.figure for one in draw(section) if one.title == "Mask exploration")
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sparse_wide 0.75 rigl"]


@pytest.mark.parametrize("rows", [1, 16])
def test_a_long_legend_takes_nothing_from_the_panels(tmp_path, rows) -> None:
    for index in range(rows):
        optimizer = {"epochs": 4, "optimizer": {"lr": index}}
        write_run(tmp_path / str(index), "a_member_with_a_long_name", config={"recipe": optimizer})
    (section,) = sections(find_runs([tmp_path]))
    figure = draw(section)[0].figure
    figure.draw_without_rendering()
    assert all(axes.get_window_extent().height / figure.dpi > 1.8 for axes in figure.axes)


def test_every_topology_series_of_the_whole_network_is_a_panel(tmp_path) -> None:
    columns = {"masks/replaced": 0.2, "masks/itop": 0.5, "masks/hamming": 0.3, "masks/itop/layer1": 0.1}
    columns |= {"masks/spectral_gap": 2.5, "masks/drop_fraction": 0.3}
    for seed in (0, 1):
        write_run(tmp_path / str(seed), "x", 0.9, seed, sparsity=0.5, sparsifier="set", columns=columns)
    (section,) = sections(find_runs([tmp_path]))
    figures = {figure.title: figure.figure for figure in draw(section)}
    titles = [axes.get_title() for axes in figures["Mask exploration"].axes]
    replaced = "fraction of active weights replaced"
    assert titles == ["Hamming distance to the initial mask", "fraction of weights ever active (ITOP)", replaced]
    (axes,) = figures["Spectral gap and top-1"].axes
    assert [line.get_xydata().tolist() for line in axes.lines] == [[[2.5, 90], [2.5, 90]]]


def test_the_spectral_gap_is_the_last_one_measured(tmp_path) -> None:
    folder = write_run(tmp_path / "a", "x", 0.9, sparsity=0.5, sparsifier="set")
    write_metrics(folder, [{"step": step, "masks/spectral_gap": gap} for step, gap in ((9, 3.0), (29, 2.0), (19, 1.0))])
    (section,) = sections(find_runs([tmp_path]))
    (axes,) = draw(section)[-1].figure.axes
    assert axes.lines[0].get_xydata().tolist() == [[2, 90]]


def test_looks_differ_in_more_than_colour(runs) -> None:
    (section,) = sections(runs)
    styles = list(looks(section.rows).values())
    assert {to_hex(look.colour) for look in styles[1:]} <= OKABE_ITO
    assert styles[1].colour == styles[2].colour
    assert len({look.marker for look in styles}) == len({look.line for look in styles}) == 3


def test_names_that_files_and_formulas_have_another_meaning_for(tmp_path) -> None:
    names = {"model": "hub/net_v1.5", "dataset": r"$\frac$"}
    sparse = {"sparsity": 0.5, "sparsifier": "set", "columns": {r"masks/$\frac$": 0.5, "masks/replaced": 0.1}}
    write_run(tmp_path / "a", "x", 0.9, change=names, **sparse)
    (section,) = sections(find_runs([tmp_path]))
    for one in draw(section):
        if one.figure:
            save(one.figure, tmp_path / one.name)
            assert (tmp_path / f"{one.name}.png").stat().st_size > 0
    assert len(list(tmp_path.glob("__frac__hub_net_v1.5_*.svg"))) == 4


def test_files(drawn, tmp_path) -> None:
    for name in ("score_flops", "exploration"):
        save(drawn[name].figure, tmp_path / name)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert ET.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_inline_svg(drawn, tmp_path) -> None:
    save(drawn["score_flops"].figure, tmp_path / "figure")
    text = inline((tmp_path / "figure.svg").read_text(), 'An "apt" <title>')
    root = ET.fromstring(text)
    assert root.get("role") == "img" and root.get("aria-label") == 'An "apt" <title>'
    assert "viewBox" in root.attrib and "width" not in root.attrib and "height" not in root.attrib
    for mark in ("data-row", "data-key"):
        assert {element.get(mark) for element in root.iter()} - {None} == {"0", "1", "2"}
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert "currentColor" in text and "#1c2126" not in text and "#ffffff" not in text
    assert not re.search(r"<metadata|<image|<script", text)
