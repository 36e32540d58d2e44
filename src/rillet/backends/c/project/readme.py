"""README.md of an emitted program: what it takes, how to build and run it, and what it then says."""

from rillet.backends.c.context import context_bytes
from rillet.backends.c.data import constant_bytes
from rillet.backends.c.image import input_of
from rillet.backends.c.pixels import is_picture
from rillet.backends.c.project.boards import PLATFORMIO
from rillet.backends.c.project.check import Example
from rillet.backends.c.project.layouts import Program, cross_line, host_line, qemu_line, template
from rillet.plan.board.code import code_bytes
from rillet.plan.board.stack import stack_bytes
from rillet.plan.rows.plan import RowPlan
from rillet.system.version import VERSION
from rillet.targets.cores import Core


def readme(program: Program, layout: str, example: Example | None) -> str:
    """The page."""
    plan, core = program.plan, program.core
    words = _words(program, example) | _commands(program, core)
    kind = layout if core is not None or layout not in ("c", "cmake") else "host"
    names = ["head", kind, *(["cmake_host"] if (kind, layout) == ("host", "cmake") else []), "use"]
    words["MEASURED"] = "" if core is None else template("readme/measured.md", words, "net")
    words["CHECK"] = _check(program, words["SAYS"]) if example else ""
    words["FOR"] = "" if plan.board is None else f" for {plan.board.name}"
    return "\n".join(template(f"readme/{name}.md", words, "net").rstrip() + "\n" for name in names)


def _words(program: Program, example: Example | None) -> dict[str, str]:
    plan = program.plan
    source = input_of(plan)
    image = ""
    if example:
        bytes_ = example.image.nbytes + sum(values.nbytes for values in example.outputs)
        image = f"| flash: the example's image | {bytes_:,} | and its outputs, `{program.prefix}_image.c` |\n"
    return {
        "PREFIX": program.prefix,
        "UPPER": program.prefix.upper(),
        "NETWORK": program.network,
        "VERSION": VERSION,
        "BOARD": "BOARD" if plan.board is None else plan.board.key,
        "INPUT": str(source.shape),
        "INPUT_BYTES": f"{source.type.bytes:,}",
        "ARENA": f"{plan.arena_bytes:,}",
        "CONTEXT": f"{context_bytes(plan):,}" if plan.threads == 1 else "",
        "CONSTANTS": f"{constant_bytes(plan):,}",
        "CODE": "" if program.core is None else f"{code_bytes(plan):,}",
        "STACK": "" if program.core is None else f"{stack_bytes(plan, program.core):,}",
        "IMAGE": image,
        "ROW": _row(program),
        "SAYS": _says(example),
        "PIO_BOARD": _pio_board(plan),
    }


def _pio_board(plan: RowPlan) -> str:
    known = None if plan.board is None else PLATFORMIO.get(plan.board.key)
    return f"`{known[1]}`: change it where yours is another" if known else "`BOARD`: set it, and its platform, to yours"


def _row(program: Program) -> str:
    prefix, upper = program.prefix, program.prefix.upper()
    size = f"{upper}_INPUT_WIDTH * {upper}_INPUT_CHANNELS"
    if is_picture(program.plan.graph.image):
        called = f"{prefix}_row_rgb888(camera_row(y), row); /* or {prefix}_row_rgb565, {prefix}_row_grey */"
        return f"  {prefix}_input_t row[{size}];\n  {called}"
    return f"  const {prefix}_input_t *row = sensor_row(y); /* {size} values */"


def _says(example: Example | None) -> str:
    if example is None:
        return "class N"
    count = sum(values.size for values in example.outputs)
    best = int(example.outputs[0].reshape(-1).argmax())
    return f"passed: {count} output values agree with the reference's\nclass {best}"


def _check(program: Program, says: str) -> str:
    return (
        f" Without a file, `./{program.prefix}` compares what the network makes of the example's image with what the"
        f" reference made of it, and prints\n\n```\n{says}\n```"
    )


def _commands(program: Program, core: Core | None) -> dict[str, str]:
    if core is None:
        return {"BUILD": host_line(program)}
    build = cross_line(program, core)
    abi = "eabihf" if core.fpu else "eabi"
    zig = f"python -m ziglang cc -target thumb-freestanding-{abi} -mcpu={core.zig} -Ifreestanding"
    zig += " -fno-sanitize=undefined -fno-unwind-tables -fno-asynchronous-unwind-tables -Wl,-e,reset"
    gcc = " ".join(("arm-none-eabi-gcc", *core.gcc))
    return {
        "BUILD": build,
        "RUN": qemu_line(core, f"{program.prefix}.elf"),
        "RUN_CMAKE": qemu_line(core, f"build/{program.prefix}_main.elf"),
        "ZIG": build.replace(gcc, zig).removesuffix("-lgcc") + "-lcompiler_rt",
        "SOURCES": "`, `".join(program.sources),
    }
