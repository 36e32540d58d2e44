"""Programs are re-entrant: contexts of one program side by side, and programs of several networks in one."""

import re
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from conftest import mostly_slow
from rillet.backends import reference
from rillet.backends.c.emit import emit
from rillet.backends.c.flags import machine_flags
from rillet.backends.c.prefix import MOST_CHARACTERS
from rillet.errors import Unsupported
from rillet.ir.graph import Graph
from rillet.ir.ops import Input
from rillet.plan.host.planner import plan_host
from rillet.plan.rows.plan import RowPlan
from rillet.plan.rows.planner import plan_rows
from rillet.runtime.run import Program
from rillet.system.build import build_program
from rillet.targets.host import this_host
from test_c import SANITIZE, random_image
from test_plan import residual

PLANS = {
    "rows": plan_rows,
    "resident": lambda graph: plan_rows(graph, resident=True),
    "host": lambda graph: plan_host(graph, this_host()),
    "threads": lambda graph: plan_host(graph, this_host(), threads=2),
}


ROOM_BYTES = 4096
"""For each value, in contexts.c."""


def run_both(plan: RowPlan, folder: Path, flags: tuple[str, ...], profile: bool = False) -> bytes:
    """Checks the outputs of two images in two contexts; returns what the program writes behind them."""
    graph: Graph = plan.graph
    images = [random_image(graph, seed) for seed in range(2)]
    sources = emit(plan, profile) | {"main.c": (Path(__file__).parent / "contexts.c").read_text()}
    program = build_program(sources, (*machine_flags(plan), *flags, "-O1", "-pthread"))
    (folder / "image.raw").write_bytes(b"".join(image.tobytes() for image in images))
    command = [str(program), str(folder / "image.raw"), str(folder / "out.raw")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in done.stderr:  # where addresses are drawn from too wide a range
        done = subprocess.run(["setarch", "-R", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = b"".join(reference.outputs(graph, image)[0].tobytes() for image in images)
    written = (folder / "out.raw").read_bytes()
    assert written[: len(expected)] == expected
    return written[len(expected) :]


@pytest.mark.parametrize("kind", mostly_slow(PLANS, "rows", "threads"))
def test_two_contexts_at_once(kind: str, tmp_path: Path) -> None:
    """In turn row by row, and from two threads."""
    assert run_both(PLANS[kind](residual(8, 8, 4)), tmp_path, SANITIZE) == b""


@pytest.mark.parametrize("kind", mostly_slow(PLANS, "rows", "threads"))
def test_two_contexts_that_show_their_values_and_count_their_time(kind: str, tmp_path: Path) -> None:
    """Each its own, in turn row by row and from two threads."""
    plan = PLANS[kind](residual(8, 8, 4))
    traced = run_both(plan, tmp_path, (*SANITIZE, "-DNET_TRACE", "-DPROFILE"), profile=True)
    nodes = plan.graph.nodes
    assert len(traced) == 2 * len(nodes) * ROOM_BYTES
    for i in range(2):
        expected = reference.run(plan.graph, random_image(plan.graph, i))
        for j, node in enumerate(nodes):
            at = (i * len(nodes) + j) * ROOM_BYTES
            made = traced[at : at + node.type.bytes]
            assert made == (bytes(len(made)) if isinstance(node.op, Input) else expected[node.name].tobytes())


@pytest.mark.parametrize("kind", ["rows", "threads"])
def test_threads_that_ask_one_program_for_its_values(kind: str) -> None:
    """Both are inside it at once, or one waits for the other; each gets its own."""
    program = Program(PLANS[kind](residual(8, 8, 4)), trace=True)
    graph = program._graph
    images = [random_image(graph, seed) for seed in range(2)]
    expected = [reference.run(graph, image) for image in images]
    wrong: list[str] = []

    def work(i: int) -> None:
        for _ in range(30):
            found = program.trace(images[i])
            wrong.extend(name for name, array in found.items() if not np.array_equal(array, expected[i][name]))
            program.run(images[1 - i])  # shows nothing

    both = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLANS)
def test_two_contexts_race_for_nothing(kind: str, tmp_path: Path) -> None:
    for flags in ((), ("-DNET_TRACE", "-DPROFILE")):
        run_both(PLANS[kind](residual(8, 8, 4)), tmp_path, ("-fsanitize=thread", *flags), profile=bool(flags))


def test_a_static_arena(tmp_path: Path) -> None:
    """Where the program is compiled with one, no arena means that."""
    plan = plan_rows(residual(8, 8, 4))
    sources = emit(plan)
    sources["main.c"] = sources["main.c"].replace("NET_ARENA(arena);\n", "").replace("&net, arena", "&net, 0")
    program = build_program(sources, (*SANITIZE, "-DNET_STATIC_ARENA"))
    image = random_image(plan.graph)
    (tmp_path / "image.raw").write_bytes(image.tobytes())
    subprocess.run([program, tmp_path / "image.raw", tmp_path / "out.raw"], check=True, capture_output=True)
    assert (tmp_path / "out.raw").read_bytes() == reference.outputs(plan.graph, image)[0].tobytes()


def test_callers_threads_run_side_by_side() -> None:
    """Two are inside the program at once, each in a context of its own."""
    program = Program(plan_rows(residual(8, 8, 4)))
    image = random_image(program._graph)
    inside = threading.Barrier(2, timeout=60)
    seen: list[int] = []

    def work() -> None:
        with program._context() as context:
            inside.wait()
            seen.append(context.pointer.value or 0)
            inside.wait()

    both = [threading.Thread(target=work) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(60)
    assert len(set(seen)) == 2
    assert np.array_equal(program.run(image)[0], reference.outputs(program._graph, image)[0])


# -- prefixes --------------------------------------------------------------------------------------------------------

TWO = """
#include <stdio.h>
#include "one/one.h"
#include "two/Two.h"
ONE_ARENA(first);
TWO_ARENA(second);
static one_input_t image[ONE_INPUT_HEIGHT * ONE_INPUT_WIDTH * ONE_INPUT_CHANNELS];
int main(int argc, char **argv)
{
  static one_context one;
  static Two_context two;
  static one_output_t made[ONE_OUTPUT_SIZE];
  static Two_output_t other[TWO_OUTPUT_SIZE];
  FILE *in = fopen(argv[argc - 2], "rb"), *to = fopen(argv[argc - 1], "wb");
  if (!in || !to || fread(image, sizeof image, 1, in) != 1) return 1;
  one_init(&one, first);
  Two_init(&two, second);
  one_run(&one, image, made);
  Two_run(&two, image, other);
  return fwrite(made, sizeof made, 1, to) != 1 || fwrite(other, sizeof other, 1, to) != 1 || fclose(to);
}
"""


@pytest.mark.parametrize(("first", "second"), [("rows", "rows"), ("rows", "threads"), ("threads", "host")])
def test_two_networks_in_one_program(first: str, second: str, tmp_path: Path) -> None:
    whole = residual(8, 8, 4)
    params = {key: whole.params[key] for key in whole.params if key.startswith(("n1.", "n2."))}
    graphs = whole, Graph("part", whole.nodes[:3], ("n2",), params)
    image = random_image(whole)
    plans = PLANS[first](graphs[0]), PLANS[second](graphs[1])
    flags: list[str] = []
    for plan, prefix in zip(plans, ("one", "Two"), strict=True):
        flags += machine_flags(plan)
        for name, text in emit(plan, prefix=prefix).items():
            assert name.startswith(("kernels/", "main.c", prefix))
            path = tmp_path / prefix.lower() / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    (tmp_path / "two.c").write_text(TWO)
    (tmp_path / "image.raw").write_bytes(image.tobytes())
    sources = ["two.c", "one/one.c", "one/one_weights.c", "two/Two.c", "two/Two_weights.c"]
    build = ["gcc", "-std=gnu99", "-O1", "-Werror", "-Wall", *dict.fromkeys(flags), "-o", "two.out", *sources, "-lm"]
    subprocess.run(build, cwd=tmp_path, check=True)
    subprocess.run(["./two.out", "image.raw", "out.raw"], cwd=tmp_path, check=True)
    expected = b"".join(reference.outputs(graph, image)[0].tobytes() for graph in graphs)
    assert (tmp_path / "out.raw").read_bytes() == expected


@pytest.mark.parametrize("kind", PLANS)
def test_nothing_keeps_the_default_prefix(kind: str) -> None:
    for name, text in emit(PLANS[kind](residual(5, 5, 1)), profile=True, prefix="other").items():
        if not name.startswith("kernels/"):
            assert not re.search(r"(?<![A-Za-z0-9_])(net_|NET_|net\.[ch])", name + text), name


def test_a_prefix_leaves_names_in_comments_alone() -> None:
    graph = residual(5, 5, 1)
    graph = Graph("net_mine", graph.nodes, graph.outputs, graph.params)
    assert emit(plan_rows(graph), prefix="face")["face.h"].startswith("/* net_mine: ")


@pytest.mark.parametrize("prefix", ["", "1a", "a-b", "a b", "_a", "a" * (MOST_CHARACTERS + 1), "caf\xe9", "a\n"])
def test_a_prefix_must_be_an_identifier(prefix: str) -> None:
    with pytest.raises(Unsupported, match="prefix must be a C identifier"):
        emit(plan_rows(residual(5, 5, 1)), prefix=prefix)


@pytest.mark.parametrize("prefix", ["rillet", "run", "AT"])
def test_a_prefix_must_not_be_taken(prefix: str) -> None:
    with pytest.raises(Unsupported, match="prefix must be none of at, "):
        emit(plan_rows(residual(5, 5, 1)), prefix=prefix)
