"""Create the figures of docs/auditing.md from the stored checkpoints of the course models.

Run `python docs/images/make_audit_figures.py [IMAGES]` from the root of the repository. Needs the files of
Fashion-MNIST.
"""

import sys
from pathlib import Path

import shiftscope
from shiftscope.auditing import equivariance
from shiftscope.reporting import audit_figures, render_figure

HERE = Path(__file__).parent
FILES = {"accuracy-map": "audit-map", "placements-right": "audit-right", "class-maps-two-conv": "audit-classes",
            "changes-two-conv": "audit-changes", "remainders-two-conv": "audit-remainders",
            "layers-two-conv": "audit-layers"}
"""Figure name -> file name."""


def main(images: int) -> None:
    """Audit both models on the first test images and write the figures to the folder of this file."""
    data = shiftscope.load_dataset("fashion-mnist").limit(images)
    placement = shiftscope.Placement(image=(28, 28), canvas=(56, 56))
    models = {name: shiftscope.load(HERE.parents[1] / "examples" / "checkpoints" / name)
              for name in ("two-full", "two-conv")}
    audits = [shiftscope.audit(model, data, placement=placement, name=name, trained="random")
              for name, model in models.items()]
    profile = equivariance(models["two-conv"], data, placement=placement, name="two-conv")
    for figure in audit_figures(audits, [profile]):
        if figure.name in FILES:
            (HERE / f"{FILES[figure.name]}.png").write_bytes(render_figure(figure.figure, "png"))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
