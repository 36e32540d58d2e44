"""Writes a pixel plan as Verilog: a module for each stage, and `top`, which joins them between two AXI-Streams."""

from importlib.resources import files

from rillet.backends.rtl.design import Design, Port
from rillet.backends.rtl.names import identifiers, shown
from rillet.backends.rtl.stage import Source, Stage, bits_within
from rillet.backends.rtl.stages import write
from rillet.errors import Unsupported
from rillet.ir.facts import is_given
from rillet.ir.graph import Node
from rillet.ir.ops import op_name
from rillet.ir.types import DType
from rillet.plan.pipeline.fifos import Flow
from rillet.plan.pipeline.plan import PixelPlan
from rillet.targets.pipeline import REGISTERS, default

AWAKE = 8
"""Cycles after a reset until the first pixel may come: what stages prepare for their first step is then there."""


def design(plan: PixelPlan) -> Design:
    """The hardware of a plan; raises Unsupported for networks and layers without."""
    graph = plan.graph
    _check(plan)
    assert plan.pipeline is not None
    flow = Flow(graph, (), lambda node, _: plan.stage(node.name).latency_cycles)
    word = identifiers(node.name for node in graph.nodes)
    depths = {(b.value, r): depth for b in plan.buffers for r, depth in zip(b.readers, b.rings, strict=True)}
    beats = {node.name: node.shape.channels for node in graph.input_nodes}
    stages: list[Stage] = []
    for planned in plan.stages:
        node = graph.by_name[planned.node]
        sources = tuple(
            Source(graph.by_name[name], beats[name], depths[name, node.name], flow.reading(node, name, 1))
            for name in planned.reads
        )
        made = Stage(graph, node, planned, word[node.name], sources, plan.pipeline)
        write(made)
        beats[node.name] = made.beat
        stages.append(made)
    own = {f"rtl/stage_{stage.word}.v": _module(stage) for stage in stages}
    library = {
        f"rtl/{file.name}": file.read_text("utf-8")
        for file in files("rillet.backends.rtl").joinpath("modules").iterdir()
        if file.name.endswith(".v")
    }
    memories = {path: text for stage in stages for path, text in stage.memories.items()}
    source, result = graph.input_nodes[0], graph.by_name[graph.outputs[0]]
    return Design(
        files={"rtl/top.v": _top(plan, stages, word, beats), **own, **dict(sorted(library.items())), **memories},
        stages=tuple(stage.node.name for stage in stages),
        rings=tuple((source.node.name, stage.node.name) for stage in stages for source in stage.sources),
        input=_port(source, source.shape.channels),
        output=_port(result, beats[result.name]),
        modules={stage.node.name: f"rtl/stage_{stage.word}.v" for stage in stages},
    )


def _check(plan: PixelPlan) -> None:
    graph = plan.graph
    if plan.pipeline is None:
        raise Unsupported(f"{graph.name}: plan must be of hardware to be emitted as Verilog, got the ideal")
    for part in REGISTERS:
        own, wanted = plan.pipeline.registers(part), default().registers(part)
        if own != wanted:
            raise Unsupported(
                f"{graph.name}: pipeline.{part} of {plan.chip or 'the chip'} must be {wanted} to be emitted, the "
                f"registers of the modules, got {own}"
            )
    if len(graph.outputs) != 1:
        raise Unsupported(f"{graph.name}: must have one output to be hardware, got {len(graph.outputs)}")
    for node in graph.nodes:
        if node.type.quant is None:
            raise Unsupported(
                f"{graph.name}: {node.name}: values must be quantised to be hardware, got {node.type.dtype.value}; "
                "quantise first: rillet quantize MODEL -o FILE"
            )


def _port(node: Node, beat: int) -> Port:
    channels, each = node.shape.channels, node.type.dtype.numpy.itemsize
    beats = -(-channels // beat)
    return Port(node.shape.pixels, channels * each, beat * each, beats, node.type.dtype is DType.U8)


def _module(stage: Stage) -> str:
    folding = stage.plan.folding
    ports = ["input clk", "input rst"]
    for place, source in enumerate(stage.sources):
        ports.append(
            f"input in{place}_begin, input in{place}_valid, "
            f"input [{source.beat * source.bits - 1}:0] in{place}_data, "
            f"output in{place}_room"
        )
    ports.append(
        f"output out_begin, output out_valid, output [{stage.beat * stage.bits - 1}:0] out_data, input out_room"
    )
    ports.append("output fired, output stalled")
    rings = [f"ring of {shown(s.node.name)}: {s.depth} pixels of {s.node.shape.channels}" for s in stage.sources]
    return "\n".join([
        f"// {shown(stage.node.name)}: {op_name(stage.node.op)}, {stage.node.shape}; {folding.outputs} outputs, "
        f"{folding.inputs} inputs, {folding.taps} taps at once, {folding.cycles} cycles a pixel",
        *(f"// {ring}" for ring in rings),
        f"module stage_{stage.word}",
        "  (" + ",\n   ".join(ports),
        "`ifdef RILLET_OBSERVE",
        f"   , output [{32 * len(stage.sources) - 1}:0] peaks",
        "`endif",
        "  );",
        *stage.lines,
        "endmodule",
        "",
    ])  # fmt: skip


def _top(plan: PixelPlan, stages: list[Stage], word: dict[str, str], beats: dict[str, int]) -> str:
    graph = plan.graph
    source, result = graph.input_nodes[0], graph.by_name[graph.outputs[0]]
    count, rings = len(stages), sum(len(stage.sources) for stage in stages)
    wide, out = source.shape.channels * 8, 8 * _port(result, beats[result.name]).beat_bytes
    lines = [
        f"// {shown(graph.name)}: an image every {plan.interval_cycles:,} cycles, the first result behind "
        f"{plan.latency_cycles:,}; written by Rillet.",
        "module top",
        "  (input aclk, input aresetn,",
        f"   input s_axis_tvalid, output s_axis_tready, input [{wide - 1}:0] s_axis_tdata,",
        "   /* verilator lint_off UNUSEDSIGNAL */  // images are told by their pixels' count",
        "   input s_axis_tlast,",
        "   /* verilator lint_on UNUSEDSIGNAL */",
        f"   output m_axis_tvalid, input m_axis_tready, output [{out - 1}:0] m_axis_tdata, output m_axis_tlast,",
        f"   output [{count - 1}:0] fired, output [{count - 1}:0] stalled",
        "`ifdef RILLET_OBSERVE",
        f"   , output [{32 * rings - 1}:0] peaks",
        "`endif",
        "  );",
        "  wire clk = aclk, rst = !aresetn;",
        f"  reg [{AWAKE - 1}:0] awake;",
        f"  always @(posedge clk) awake <= rst ? 0 : {{awake[{AWAKE - 2}:0], 1'b1}};",
        "",
    ]
    for node in graph.nodes:
        if is_given(node.op) and node is not source:
            continue
        name = word[node.name]
        rooms = [f"room_{name}_{word[reader.name]}" for reader in graph.consumers[node.name]]
        if node is result:
            rooms.append("room_out")
        lines += [f"  wire {room};" for room in rooms]
        lines += [
            f"  wire begin_{name}, valid_{name};",
            f"  wire [{beats[node.name] * bits_within(node.type) - 1}:0] data_{name};",
            f"  wire go_{name} = {' && '.join(rooms)};",
        ]
    name = word[source.name]
    lines += [
        f"  assign s_axis_tready = awake[{AWAKE - 1}] && go_{name};",
        f"  assign begin_{name} = s_axis_tvalid && s_axis_tready, valid_{name} = begin_{name};",
        *_inside(source, f"data_{name}"),
        "",
    ]
    ring = 0
    for place, stage in enumerate(stages):
        lines += _instance(stage, place, ring, word)
        ring += len(stage.sources)
    return "\n".join([*lines, *_end(plan, result, word, beats), "endmodule", ""])


def _instance(stage: Stage, place: int, ring: int, word: dict[str, str]) -> list[str]:
    own = word[stage.node.name]
    ports = [".clk(clk), .rst(rst)"]
    for i, source in enumerate(stage.sources):
        name = word[source.node.name]
        ports.append(
            f".in{i}_begin(begin_{name}), .in{i}_valid(valid_{name}), .in{i}_data(data_{name}), "
            f".in{i}_room(room_{name}_{own})"
        )
    ports.append(f".out_begin(begin_{own}), .out_valid(valid_{own}), .out_data(data_{own}), .out_room(go_{own})")
    ports.append(f".fired(fired[{place}]), .stalled(stalled[{place}])")
    inputs = ", ".join(f"{shown(s.node.name)} (ring of {s.depth})" for s in stage.sources)
    return [
        f"  // {shown(stage.node.name)}: {op_name(stage.node.op)} of {inputs}",
        f"  stage_{own} at_{own}",
        "    (" + ",\n     ".join(ports),
        "`ifdef RILLET_OBSERVE",
        f"     , .peaks(peaks[{32 * (ring + len(stage.sources)) - 1}:{32 * ring}])",
        "`endif",
        "    );",
        "",
    ]


def _end(plan: PixelPlan, result: Node, word: dict[str, str], beats: dict[str, int]) -> list[str]:
    planned = plan.stage(result.name)
    name, wide = word[result.name], beats[result.name]
    spread = planned.folding.cycles * (planned.folding.firings // result.shape.pixels)
    on_the_way = -(-(planned.folding.cycles + planned.latency_cycles) // spread) + 1
    beats_ = -(-result.shape.channels // wide)
    bits = bits_within(result.type)
    return [
        f"  wire [{wide * bits - 1}:0] data_out;",
        f"  rillet_output #(.BEAT({wide * bits}), .BEATS({beats_}), .PIXELS({result.shape.pixels}), "
        f".DEPTH({on_the_way})) out",
        f"    (.clk(clk), .rst(rst), .in_begin(begin_{name}), .in_valid(valid_{name}), .in_data(data_{name}),",
        "     .in_room(room_out), .tvalid(m_axis_tvalid), .tready(m_axis_tready), .tdata(data_out),",
        "     .tlast(m_axis_tlast));",
        *_outside(result, wide),
    ]


def _inside(source: Node, name: str) -> list[str]:
    """The bytes of a pixel as hardware has them: as they are, with the sign bit flipped, or the sign bit alone."""
    channels = source.shape.channels
    match source.type.dtype:
        case DType.BINARY:
            signs = ", ".join(f"s_axis_tdata[{8 * i + 7}]" for i in reversed(range(channels)))
            return [
                "  /* verilator lint_off UNUSEDSIGNAL */  // of 1 and -1 the sign says all",
                f"  wire [{8 * channels - 1}:0] bytes = s_axis_tdata;",
                "  /* verilator lint_on UNUSEDSIGNAL */",
                f"  assign {name} = {{{signs.replace('s_axis_tdata', 'bytes')}}};",
            ]
        case DType.U8:
            return [f"  assign {name} = s_axis_tdata ^ {{{channels}{{8'h80}}}};"]
        case _:
            return [f"  assign {name} = s_axis_tdata;"]


def _outside(result: Node, wide: int) -> list[str]:
    """The bytes of a beat from what hardware has of them."""
    match result.type.dtype:
        case DType.BINARY:
            each = ", ".join(f"{{7{{data_out[{i}]}}}}, 1'b1" for i in reversed(range(wide)))
            return [f"  assign m_axis_tdata = {{{each}}};"]
        case DType.U8:
            return [f"  assign m_axis_tdata = data_out ^ {{{wide}{{8'h80}}}};"]
        case _:
            return ["  assign m_axis_tdata = data_out;"]
