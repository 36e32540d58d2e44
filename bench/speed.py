"""Writes how fast Rillet is beside other runtimes, with the machine's facts, as JSON for `check.py`.

usage: python bench/speed.py MODEL ... [-o FILE] [--against NAME,NAME] [--threads 1,2] [--precision f32,int8]
                             [--rounds N]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from rillet.system.checksums import record_text
from rillet.system.files import write_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("-o", "--out", type=Path)
    for option in ("--against", "--threads", "--precision", "--rounds"):
        parser.add_argument(option)
    said = parser.parse_args()
    names = ("against", "threads", "precision", "rounds")
    options = [word for name in names if getattr(said, name) for word in (f"--{name}", getattr(said, name))]
    records: list[dict[str, object]] = []
    for model in said.models:
        command = [sys.executable, "-m", "rillet", "bench", model, *options, "--json"]
        records += json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    text = record_text({"records": records})
    if said.out is None:
        print(text, end="")
    else:
        write_file(said.out, text.encode())


if __name__ == "__main__":
    main()
