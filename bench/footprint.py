"""Prints what plans for a board say of their programs beside what an emulator measures, a line for each of both plans.

usage: python bench/footprint.py [--target BOARD] MODEL ...
"""

import argparse

import rillet
from rillet.api.plans import options, row_planned
from rillet.errors import RilletError
from rillet.runtime.emulator.proof import CoreVerification


def line(model: str, objective: str, found: CoreVerification) -> str:
    """Measured numbers, and by how much they are off those planned."""
    numbers = (
        ("instructions", found.instructions, found.planned_instructions),
        ("RAM", found.ram_bytes, found.planned_ram_bytes),
        ("flash", found.flash_bytes, found.planned_flash_bytes),
        ("flash reads", found.flash_read_bytes, found.planned_flash_read_bytes),
    )
    said = (f"{name} {got:,} ({got / planned - 1:+.1%})" for name, got, planned in numbers if planned)
    return f"{model} {objective}: {', '.join(said)}{'' if found.equal else ', wrong bytes'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+")
    parser.add_argument("--target", default="nano33ble")
    said = parser.parse_args()
    for model in said.models:
        net = rillet.load(model)
        for objective in ("time", "memory"):
            found = rillet.verify(row_planned(net, options(said.target, objective=objective)), 1)
            assert isinstance(found, CoreVerification)
            print(line(model, objective, found), flush=True)


if __name__ == "__main__":
    try:
        main()
    except RilletError as error:
        raise SystemExit(f"footprint: {error}") from None
