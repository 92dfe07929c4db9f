import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from shiftscope.errors import OutputError
from shiftscope.reporting import alt_text, classified_gallery, confusion_matrix, save_figure


def test_a_figure_becomes_a_png_and_an_svg_that_keep_its_words(make_evaluation, tmp_path):
    figure = confusion_matrix(make_evaluation())
    png, svg = save_figure(figure, tmp_path / "new folder", "confusion")
    assert (png.name, svg.name) == ("confusion.png", "confusion.svg")
    with Image.open(png) as image:
        assert image.info["Description"] == alt_text(figure)
        assert image.size == pytest.approx(figure.get_size_inches() * 112, abs=1)
    ElementTree.parse(svg)
    assert alt_text(figure).split(":")[0] in svg.read_text(encoding="utf-8")
    assert sorted(path.name for path in png.parent.iterdir()) == ["confusion.png", "confusion.svg"]


def test_the_same_figure_gives_the_same_bytes_without_a_date(make_evaluation, tmp_path):
    first, second = (save_figure(classified_gallery(make_evaluation()), tmp_path / name, "f") for name in "ab")
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert b"dc:date" not in first[1].read_bytes()


def test_hostile_names_stay_text_in_an_svg(make_evaluation, tmp_path):
    figure = confusion_matrix(make_evaluation(class_names=["</script><img onerror=x>", "--><b>", "$x$"]))
    _, svg = save_figure(figure, tmp_path, "f")
    tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(svg).iter()}
    assert not tags & {"script", "img", "b"}


def test_a_folder_that_cannot_be_made_is_one_sentence(make_evaluation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        save_figure(confusion_matrix(make_evaluation()), tmp_path / "file", "f")
