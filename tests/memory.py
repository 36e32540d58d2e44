"""How much memory a program of its own took."""

from pathlib import Path


def peak_bytes() -> int:
    """The most that this program has held at a time, as Linux counts it.

    `getrusage` would not do: it starts from what the program that started this one held.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
