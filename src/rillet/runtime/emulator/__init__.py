"""Emitted programs on emulated Cortex-M cores: their outputs, and what they take, counted exactly.

    from rillet.runtime.emulator import run
    from rillet.targets.cores import load

    made = run(plan, load("cortex-m4"), images)  # a row plan, the files of `emit`, or a folder that it wrote
    made.outputs[0][0], made.instructions, made.ram_bytes, made.stack_bytes, made.flash_bytes, made.functions

An instruction counts where it is fetched, whether its condition holds or not. Those of `net_run` count, from the call
to its return, and no others. One firmware runs in both emulators, and their counts are equal.
"""

import struct
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rillet.errors import BuildError, GraphError, Unsupported
from rillet.ir.graph import Array
from rillet.runtime.emulator import on_qemu, on_unicorn
from rillet.runtime.emulator.counting import Counts, Owners, owners
from rillet.runtime.emulator.firmware import STACK_BYTES, Firmware, build_firmware
from rillet.system.reading import MODEL_BYTES, read_text
from rillet.targets import cores
from rillet.targets.cores import Core

if TYPE_CHECKING:
    from rillet.plan.rows.plan import RowPlan

MOST_INSTRUCTIONS = 10_000_000_000
"""Of all images together: what takes more counts as a program that does not end."""
_ELSEWHERE = "?"
Emulator = Literal["unicorn", "qemu"]
Image = Array | Sequence[Array]
"""What a program is given for one answer: its input, or an array for each in the order of the header."""


@dataclass(frozen=True, slots=True)
class Emulation:
    """What a program gave on an emulated core, and what it took."""

    core: str
    emulator: str
    compiler: str
    outputs: tuple[tuple[Array, ...], ...]
    """By image, each output as the net stores it, without shape."""
    instructions_by_image: tuple[int, ...]
    flash_reads_by_image: tuple[int, ...]
    stack_by_image: tuple[int, ...]
    ram_bytes: int
    """.data and .bss: the arena, the context, and all else that the net writes but the stack."""
    code_bytes: int
    constant_bytes: int
    functions: Mapping[str, int]
    """Instructions of the first image by function, the most first."""
    owners: Mapping[str, int]
    """The same by whom they count for, where that was asked; what ran before the first owner is of `""`."""

    @property
    def instructions(self) -> int:
        """Those of the image that took the most."""
        return max(self.instructions_by_image)

    @property
    def flash_read_bytes(self) -> int:
        """Bytes that loads read from flash, for the image that read the most; instructions are not counted."""
        return max(self.flash_reads_by_image)

    @property
    def stack_bytes(self) -> int:
        """The deepest stack below the caller of `net_run`, found by paint."""
        return max(self.stack_by_image)

    @property
    def flash_bytes(self) -> int:
        """Code and constants."""
        return self.code_bytes + self.constant_bytes


def run(
    program: "RowPlan | Path | Mapping[str, str]",
    core: Core | str,
    images: Sequence[Image],
    *,
    emulator: Emulator | None = None,
    flags: tuple[str, ...] = (),
    most_instructions: int = MOST_INSTRUCTIONS,
    owner_of: Callable[[str], str | None] = lambda _: None,
) -> Emulation:
    """Builds a program for a core and runs it on images.

    program: a row plan, the files of `emit`, or a folder of them. images: as the net stores its inputs. emulator:
    Unicorn for cores that it has, else QEMU. flags: more for the compiler. owner_of: by the name of a function whom its
    instructions count for, and those of functions without an owner that it calls. Raises BuildError where the program
    cannot be built, faults or does not end; Unsupported where a tool is missing; GraphError for images of another size.
    """
    firmware = build_firmware(program_files(program), cores.load(core) if isinstance(core, str) else core, flags)
    return run_firmware(firmware, images, emulator=emulator, most_instructions=most_instructions, owner_of=owner_of)


def run_firmware(
    firmware: Firmware,
    images: Sequence[Image],
    *,
    emulator: Emulator | None = None,
    most_instructions: int = MOST_INSTRUCTIONS,
    owner_of: Callable[[str], str | None] = lambda _: None,
) -> Emulation:
    """As `run`, for a program that is built."""
    core = firmware.core
    data = [_bytes(firmware, image) for image in images]
    if not data:
        raise GraphError(f"{core.name}: images must be at least one, got none")
    if emulator == "unicorn" and core.unicorn is None:
        raise Unsupported(f"{core.name}: emulator must be qemu, got unicorn, which does not have this core")
    machine = on_qemu if emulator == "qemu" or core.unicorn is None else on_unicorn
    owned = owners(firmware, owner_of)
    return _told(firmware, machine.run(firmware, data, most_instructions, owned), len(data), owned)


def _bytes(firmware: Firmware, image: Image) -> bytes:
    """What the program reads of one image; raises GraphError where that is not what it takes."""
    core, taken = firmware.core.name, firmware.interface.inputs
    arrays = (image,) if isinstance(image, np.ndarray) else image
    if len(arrays) != len(taken):
        raise GraphError(f"{core}: image must be {len(taken)} arrays, got {len(arrays)}")
    for values, array in zip(taken, arrays, strict=True):
        if array.size != values.count or array.dtype != values.dtype:
            called = "image" if values is taken[0] else values.name
            got = f"{array.size} of {array.dtype}"
            raise GraphError(f"{core}: {called} must be {values.count} values of {values.dtype}, got {got}")
    return b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)


def program_files(program: "RowPlan | Path | Mapping[str, str]") -> Mapping[str, str]:
    """The files of a program for a core; raises Unsupported for one that has threads or another processor's kernels."""
    if isinstance(program, Mapping):
        return program
    if isinstance(program, Path):
        found = [path for path in sorted(program.rglob("*")) if path.suffix in (".c", ".h", ".S")]
        return {str(path.relative_to(program).as_posix()): read_text(path, MODEL_BYTES) for path in found}
    if program.host is not None:
        raise Unsupported(f"{program.graph.name}: plan must be one for a board, got one for {program.host.kernels}")
    from rillet.backends.c.emit import emit

    return emit(program)


def _told(firmware: Firmware, counts: Counts, images: int, owned: Owners) -> Emulation:
    outputs = firmware.interface.outputs
    row = sum(values.bytes for values in outputs) + 4
    if len(counts.data) != row * images or len(counts.instructions) != images:
        raise BuildError(
            f"{firmware.core.name}: program must answer {images} images, got {len(counts.data)} bytes of answers"
        )
    made: list[tuple[Array, ...]] = []
    stack: list[int] = []
    for i in range(images):
        at, found = i * row, list[Array]()
        for values in outputs:
            found.append(np.frombuffer(counts.data, values.dtype, values.count, at))
            at += values.bytes
        made.append(tuple(found))
        stack.append(struct.unpack_from("<I", counts.data, at)[0])
    if max(stack) > STACK_BYTES:
        raise BuildError(f"{firmware.core.name}: stack must be at most {STACK_BYTES:,} bytes, got more")
    by_function: Counter[str] = Counter()
    for address, count in counts.blocks.items():
        by_function[firmware.function_at(address) or _ELSEWHERE] += count
    return Emulation(
        core=firmware.core.name,
        emulator=counts.emulator,
        compiler=firmware.compiler,
        outputs=tuple(made),
        instructions_by_image=counts.instructions,
        flash_reads_by_image=counts.flash_reads,
        stack_by_image=tuple(stack),
        ram_bytes=firmware.ram_bytes,
        code_bytes=firmware.code_bytes,
        constant_bytes=firmware.constant_bytes,
        functions=dict(by_function.most_common()),
        owners=dict(zip(("", *owned.names), counts.owners, strict=True)),
    )
