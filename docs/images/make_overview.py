"""Create the overview of README.md and docs/index.md: training images above the accuracy maps of docs/auditing.md.

Run `python docs/images/make_overview.py` from the root of the repository, after make_audit_figures.py. Needs the files
of Fashion-MNIST.
"""

import io
from pathlib import Path

from PIL import Image

import shiftscope
from shiftscope.reporting import reduce_colors, render_figure
from shiftscope.workflows.report.figures import samples_figure

HERE = Path(__file__).parent


SAMPLES, MAPS, CREDIT = (0, 360), (0, 484), (700, 726)
"""Rows of pixels that are shown: two rows of sample images, the maps without their statistics, and the credit."""


def rows(image: Image.Image, part: tuple[int, int]) -> Image.Image:
    """Return some rows of an image."""
    return image.crop((0, part[0], image.width, part[1]))


def stacked(parts: list[Image.Image]) -> Image.Image:
    """Return the images one above the other on white, as wide as the widest one."""
    page = Image.new("RGB", (max(part.width for part in parts), sum(part.height for part in parts)), "white")
    top = 0
    for part in parts:
        page.paste(part, (0, top))
        top += part.height
    return page


def main() -> None:
    """Write the overview to the folder of this file."""
    data = shiftscope.load_dataset("fashion-mnist")
    placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    samples = render_figure(samples_figure(data, placement, seed=0), "png")
    with Image.open(io.BytesIO(samples)) as upper, Image.open(HERE / "audit-map.png") as lower:
        overview = stacked([rows(upper.convert("RGB"), SAMPLES), *(rows(lower.convert("RGB"), part)
                                                                   for part in (MAPS, CREDIT))])
    buffer = io.BytesIO()
    overview.save(buffer, format="png")
    (HERE / "overview.png").write_bytes(reduce_colors(buffer.getvalue()))


if __name__ == "__main__":
    main()
