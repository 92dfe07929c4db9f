"""The Python blocks of the documentation run in order on small data."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import shiftscope
from shiftscope.data import from_arrays
from shiftscope.models import build_model

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("auditing.md", "identity.md", "looking-inside.md", "repair.md", "wavelets.md", "tutorial/first-steps.md",
         "how-to/own-images.md", "how-to/reports.md", "how-to/notebooks.md", "how-to/automate.md",
         "how-to/during-training.md")
ALL = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def blocks(page: str) -> list[str]:
    """Return the code blocks of a page, padded so that line numbers in errors match the page."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, match.start(1)) + match.group(1)
            for match in re.finditer(r"^```python\n(.*?)^```", text, flags=re.M | re.S)]


class Tiny(nn.Module):
    """The model of the reader."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.last = nn.Conv2d(1, 2, 5, stride=4), nn.Linear(2 * 13 * 13, 3)

    def forward(self, pixels):
        return self.last(torch.relu(self.conv(pixels)).flatten(1))


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page, tmp_path, monkeypatch, capsys):
    images = torch.randint(0, 256, (6, 1, 28, 28), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    data = from_arrays(images, [0, 1, 2] * 2, images[:4], [0, 1, 2, 0], class_names=("a", "b", "c"))
    monkeypatch.setattr(shiftscope, "load_dataset", lambda name: data)
    monkeypatch.setattr(shiftscope.models, "build_model", partial(build_model, classes=3))
    monkeypatch.chdir(tmp_path)
    names = {"my_model": Tiny(), "data": data, "torch": torch, "shiftscope": shiftscope,
             "placement": shiftscope.Placement(image=(28, 28), canvas=(56, 56))}
    assert blocks(page)
    for block in blocks(page):
        exec(compile(block, str(DOCS / page), "exec"), names)
    if page == "auditing.md":
        written = sorted(path.name for path in (tmp_path / "audit").glob("*.png"))
        assert len(written) == 7 and "layers.png" in written and "accuracy-map.png" in written
        assert (tmp_path / "audit" / "result" / "result.json").is_file()
        assert "loses most: conv" in capsys.readouterr().out
        assert names["near"].placements == 25


@pytest.mark.parametrize("page", ALL)
def test_links_are_valid(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in target]
    assert [target for target in targets if not (DOCS / page).parent.joinpath(target).exists()] == []


def test_every_page_is_in_the_table_of_contents():
    listed = set(re.findall(r"^(?:.*<)?([a-z-]+(?:/[a-z-]+)?)>?$", (DOCS / "index.md").read_text("utf-8"), flags=re.M))
    assert {page.removesuffix(".md") for page in ALL} - listed == {"index"}
