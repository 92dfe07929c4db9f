"""Compare the times that commands announce with the times that they take.

    python benchmarks/estimates.py CHECKPOINT [--data-dir DIR] [--out FOLDER]

A line per command: the announced time, the time from the announcement to the end of the command, which includes figures
and files, and their ratio. The sampled estimate of a long audit is not part of the announced time.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

UNITS = {"h": 3600, "min": 60, "s": 1}
ANNOUNCED = re.compile(r"^(?:audit of .*?: (.*?) for |repair: (.*?) in total|synthesis of .*?: at most (.*?)(?:;|$))")
SEARCH = re.compile(r"then a search .* of at most (.*)")


def seconds(text: str) -> float:
    """Return a time in words in seconds; "a few seconds" are 2.5.

    >>> seconds("about 2 min 40 s"), seconds("a few seconds")
    (160, 2.5)
    """
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+) (h|min|s)\b", text)) or 2.5


def measure(line: list[str]) -> tuple[float, float]:
    """Run a command; return the first time that it announces, and the time from then to its end."""
    process = subprocess.Popen([sys.executable, "-m", "shiftscope", *line], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    announced, begun, sampled = 0.0, time.monotonic(), 0.0
    for message in process.stderr or ():
        found = ANNOUNCED.search(message)
        if found is not None and not announced:
            announced, begun = seconds(next(filter(None, found.groups()))), time.monotonic()
            search = SEARCH.search(message)
            announced += seconds(search[1]) if search else 0.0
        elif message.startswith("sampled estimate") and not sampled:
            sampled = time.monotonic() - begun
    if process.wait() != 0:
        raise SystemExit(f"shiftscope {' '.join(line)} failed")
    return announced, time.monotonic() - begun - sampled


def main() -> None:
    """Run the commands and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--data-dir")
    parser.add_argument("--out", default="estimates-out", type=Path)
    given = parser.parse_args()
    where = ["--data-dir", given.data_dir] if given.data_dir else []
    out = iter(str(given.out / str(number)) for number in range(100))
    for line in (
        ["audit", given.checkpoint, *where, "--limit", "2000"],
        ["audit", given.checkpoint, *where, "--limit", "40", "--engine", "brute"],
        ["audit", given.checkpoint, *where, "--limit", "500", "--engine", "brute", "--sample", "30", "--out",
         next(out)],
        ["visualize", given.checkpoint, "class:Bag", *where, "--out", next(out)],
        ["visualize", given.checkpoint, "conv2:0-9", *where, "--neighbors", "0", "--out", next(out)],
        ["repair", given.checkpoint, *where, "--method", "recenter", "--images", "1000", "--out", next(out)],
        ["repair", given.checkpoint, *where, "--method", "polyphase", "--finetune", "1", "--images", "500", "--limit",
         "5000", "--out", next(out)],
    ):
        announced, taken = measure(line)
        print(f"{announced:7.1f} s announced {taken:7.1f} s taken  {taken / announced:5.2f}  "
              f"{' '.join(map(str, line))}", flush=True)


if __name__ == "__main__":
    main()
