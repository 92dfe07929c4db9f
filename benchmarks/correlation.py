"""Time of the first fully connected layer at all 841 placements, by strategy: ms per image and GFLOP/s.

Usage: python benchmarks/correlation.py [--threads 2] [--images 64] [--repeats 7] [--write]

Two layers of the course, for 28 x 28 images on a 56 x 56 canvas: the convnet's fc1 (kernel 100 x 30 x 11 x 11, dilation
4) and the perceptron's first layer (kernel 100 x 1 x 56 x 56). Strategies are interleaved in one process; the median
and the minimum are printed. Two numbers of operations are given: those of the strategy, and those of the direct sum.
The error is the largest one of an image, in single precision, relative to the largest output in double precision.
"""

import argparse
import os
import platform
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import torch

from shiftscope import files
from shiftscope.dense.correlate import KINDS, Correlation

RESULTS = Path(__file__).parent / "results" / "correlation.json"

LAYERS = {
    "convnet": ((100, 30, 11, 11), {"dilation": (4, 4), "support": (43, 43), "lead": (13, 13), "out": (29, 29)}),
    "perceptron": ((100, 1, 56, 56), {"support": (28, 28), "lead": (28, 28), "out": (29, 29)}),
}

TOO_LARGE = 400 * 2 ** 20
"""Tables of more bytes are not measured: the Toeplitz matrix of the convnet's layer would take 9 GB."""


def prepared(kernel: torch.Tensor, shape: dict) -> dict[str, Correlation]:
    """Return the layer by every strategy whose tables are not too large."""
    (sh, sw), (ny, nx), (filters, channels) = shape["support"], shape["out"], kernel.shape[:2]
    matrix = 4 * sh * sw * channels * ny * nx * filters
    names = [name for name in KINDS if name != "matmul" or matrix < TOO_LARGE]
    return {name: Correlation(kernel, strategy=name, **shape) for name in names}


def seconds(layer: Correlation, x: torch.Tensor) -> float:
    """Return the seconds of one call, to the end of what it started."""
    begin = time.perf_counter()
    layer(x)
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter() - begin


def measure(name: str, images: int, repeats: int, device: str) -> list[dict]:
    """Return one record a strategy."""
    size, shape = LAYERS[name]
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(size, generator=generator, dtype=torch.float64) / (size[1] * size[2] * size[3]) ** 0.5
    x = torch.rand(images, size[1], *shape["support"], generator=generator, dtype=torch.float64)
    truth = Correlation(kernel, strategy="direct", **shape)(x[:1])
    layers = prepared(kernel.float().to(device), shape)
    batch = x.float().to(device, memory_format=torch.channels_last)
    for layer in layers.values():
        seconds(layer, batch)
    rounds = [{way: seconds(layer, batch) for way, layer in layers.items()} for _ in range(repeats)]
    chosen, direct = Correlation(kernel.float().to(device), **shape).strategy, layers["direct"].flops
    return [record(way, [times[way] / images for times in rounds], layer, direct, way == chosen,
                   ((layer(batch[:1]).cpu().double() - truth).abs().max() / truth.abs().max()).item())
            for way, layer in layers.items()]


def record(way: str, times: list[float], layer: Correlation, direct: int, chosen: bool, error: float) -> dict:
    """Return the results of one strategy; times are seconds per image."""
    median = statistics.median(times)
    return {"strategy": way, "chosen": chosen, "ms": 1e3 * median, "least_ms": 1e3 * min(times),
            "mflop": layer.flops / 1e6, "gflops": layer.flops / median / 1e9,
            "direct_gflops": direct / median / 1e9, "error": error}


def show(name: str, records: list[dict]) -> None:
    """Print one table."""
    print(f"\n{name}: kernel {LAYERS[name][0]}, {LAYERS[name][1]}")
    print(f"{'strategy':16s}{'ms/image':>10s}{'least':>8s}{'MFLOP':>8s}{'GFLOP/s':>9s}{'as direct':>11s}{'error':>10s}")
    for line in records:
        mark = "*" if line["chosen"] else " "
        print(f"{line['strategy'] + mark:16s}{line['ms']:10.3f}{line['least_ms']:8.3f}{line['mflop']:8.1f}"
              f"{line['gflops']:9.0f}{line['direct_gflops']:11.0f}{line['error']:10.1e}")


def main() -> None:
    """Measure and print; write the figures if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} into benchmarks/results")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    load = os.getloadavg()[0]
    print(f"{asked.threads} threads, {asked.images} images a call, median of {asked.repeats}, float32, {asked.device}; "
          f"load before: {load:.1f} on {os.cpu_count()} cores; * is what the model of costs chooses")
    tables = {name: measure(name, asked.images, asked.repeats, asked.device) for name in LAYERS}
    for name, records in tables.items():
        show(name, records)
    if asked.write:
        files.write_json(RESULTS, {
            "schema_version": 2, "measured": datetime.now(UTC).isoformat(timespec="seconds"), "layers": tables,
            "what": "one layer over all 841 placements, by strategy", "images": asked.images, "load_before": load,
            "machine": {"cores": os.cpu_count(), "threads": asked.threads, "platform": platform.machine(),
                        "device": asked.device, "torch": torch.__version__}})


if __name__ == "__main__":
    main()
