"""Options that several commands share, and those of commands with many."""

from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import DATA, shared

TargetOption = Annotated[
    str | None,
    shared("--target", metavar="NAME|FILE.toml"),
]
BoardBitsOption = Annotated[
    int | None,
    shared("--bits", here="Of a board; by default the network's own.", metavar="8|32"),
]
"""Of fit and cost."""
NodeOption = Annotated[str, shared("--node", metavar="45nm|7nm|FILE.toml")]
NetworkFileOption = Annotated[
    Path | None,
    shared("-o", "--out", here="A file ending in .rlt or .onnx.", metavar="FILE"),
]
LimitOption = Annotated[int | None, shared("--limit", min=1)]

# -- count, explain, convert -------------------------------------------------------------------------------------------

ConventionOption = Annotated[
    str | None,
    shared("--convention", here="By default macs.", metavar="macs|thop-2020|pthflops|slim|keras"),
]
ByOption = Annotated[
    str | None,
    typer.Option("--by", metavar="layer|block|kind", help="Sum by layer, by block (the default), or by kind of layer."),
]
SignsOption = Annotated[
    bool,
    typer.Option("--signs", help="Count only ternary and binary weights: how many are +, 0 and -."),
]
LiveCountOption = Annotated[bool, shared("--live", here="Says what goes.")]
LayerOption = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="One layer in detail.")]
DemandOption = Annotated[float | None, shared("--fps", here="30 by default.")]
BoardMemoryOption = Annotated[
    str | None, shared("--memory", here="Weights are compared with it; 256KiB by default.", metavar="SIZE")
]
ConvertFileOption = Annotated[
    Path,
    shared("-o", "--out", here="A file ending in .onnx, .rlt, .safetensors or .tflite.", metavar="FILE"),
]
DequantizeOption = Annotated[bool, typer.Option("--dequantize", help="Make a quantised network a float one.")]
FoldOption = Annotated[bool, typer.Option("--fold", help="Fold batch norms into the convolutions before them.")]

# -- systolic, energy, fit, cost ---------------------------------------------------------------------------------------

RowsOption = Annotated[int | None, typer.Option("--rows", help="Rows of the array, 64 by default.")]
ColumnsOption = Annotated[int | None, typer.Option("--columns", help="Columns of the array, 64 by default.")]
DataflowOption = Annotated[
    str | None,
    typer.Option(
        "--dataflow",
        metavar="os|ws|is",
        help="Stationary operand: os = outputs (the default), ws = weights, is = inputs.",
    ),
]
CyclesOption = Annotated[
    str,
    shared("--convention", here="Those of cycles are in docs/systolic.md.", metavar="exact|scalesim|fuse"),
]
HardwareOption = Annotated[
    str | None,
    typer.Option(
        "--hardware", metavar="systolic|fuse", help="Plain (the default), or with a weight broadcast in each row."
    ),
]
ExactMapsOption = Annotated[
    bool, typer.Option("--exact-maps", help="Use the true output sizes instead of SCALE-Sim's.")
]
SramOption = Annotated[
    float | None, typer.Option("--sram", help="Bytes a cycle that the on-chip buffers deliver; not bounded by default.")
]
DramOption = Annotated[
    float | None, typer.Option("--dram", help="Bytes a cycle that DRAM delivers; not bounded by default.")
]
OperandOption = Annotated[
    str | None, typer.Option("--operand", help="Operand type: 8 (the default), 32, int8, bf16, fp32 ...")
]
AccumulatorOption = Annotated[
    str | None,
    typer.Option("--accumulator", help="Accumulator type: integer bits (32 by default), int32, fp32 ..."),
]
WeightBitsOption = Annotated[int | None, shared("--weight-bits", here="By default those of the operands.")]
ScheduleOption = Annotated[
    str | None,
    typer.Option(
        "--schedule",
        metavar="layerwise|stream|systolic",
        help="How often each value is read from memory; layerwise by default.",
    ),
]
WeightMemoryOption = Annotated[
    str | None,
    typer.Option("--weight-memory", metavar="sram_8KB|...|dram", help="Memory that the weights are read from."),
]
ArrayOption = Annotated[
    int | None,
    shared("--array", here="With --schedule systolic.", min=1),
]
BoardOption = Annotated[
    str | None,
    shared("--target", here="A board, nano33ble by default.", metavar="NAME|FILE.toml"),
]
AllBoardsOption = Annotated[bool, shared("--all", here="A table of the known boards.")]
FitObjectiveOption = Annotated[str, shared("--objective", here="Of a board's plan.", metavar="memory|time")]
MachinesOption = Annotated[
    list[str] | None,
    shared("--target", here="May be given several times; all by default.", metavar="NAME|FILE.toml|all"),
]
ComparedMachinesOption = Annotated[
    list[str] | None,
    shared(
        "--target",
        here="With -o; may be given several times; by default an array, a chip and a board.",
        metavar="NAME|FILE.toml|all",
    ),
]
ComparePageOption = Annotated[Path | None, shared("-o", "--out", here="A page (.html).", metavar="FILE.html")]
RateOption = Annotated[float, shared("--fps")]
PageOption = Annotated[
    Path | None,
    shared("-o", "--out", here="A page (.html, with pictures), or the table (.md, .csv).", metavar="FILE"),
]

# -- quantize, compress, evaluate --------------------------------------------------------------------------------------

CalibrationDataOption = Annotated[
    str,
    shared(
        "--data",
        here="The training part calibrates; random: noise, where accuracy does not matter.",
        metavar="cifar10[:DIR]|cifar100[:DIR]|DIR|random",
    ),
]
FewBitsOption = Annotated[str, shared("--weight-bits", metavar="8|ternary|binary")]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        min=0.0,
        max=1.0,
        help="Zero threshold for ternarising float weights, as a fraction of max abs(w); by default 0.7 mean abs(w) "
        "(TWN, Li 2016).",
    ),
]
FloatOption = Annotated[
    bool, typer.Option("--float", help="With ternary or binary weights: keep values and all other weights float32.")
]
RoundingOption = Annotated[
    str | None,
    typer.Option("--rounding", metavar="shift|fixed_point", help="How results are requantised; shift by default."),
]
CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration", metavar="minmax|percentile|mse", help="How ranges are chosen; percentile by default."
    ),
]
EqualizeOption = Annotated[
    bool, typer.Option("--equalize", help="Equalise channels across layers before (cross-layer equalisation).")
]
CorrectBiasOption = Annotated[
    bool, typer.Option("--correct-bias", help="Correct biases by the mean error of the rounded weights.")
]
CalibrationLimitOption = Annotated[int | None, shared("--limit", here="To calibrate with, 128 by default.", min=1)]
MeasureOption = Annotated[bool, typer.Option("--evaluate", help="Measure accuracy before and after, on the test part.")]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="Instead: accuracy and size under both rounding rules and all calibrations.")
]
LayerErrorsOption = Annotated[
    bool, typer.Option("--layer-errors", help="Show the signal-to-noise ratio of each layer, in decibels.")
]
SparsityOption = Annotated[
    float | None,
    typer.Option(
        "--sparsity", help="Prune: fraction of each layer's weights that become zero, the smallest in magnitude."
    ),
]
IndexBitsOption = Annotated[
    int | None,
    typer.Option("--index-bits", help="Share weights by a codebook a layer: at most 2^N values, beside zero."),
]
MoreThanOption = Annotated[
    int | None,
    typer.Option("--more-than", min=0, help="Leave layers of at most N weights as they are; 1000 by default."),
]
LayersOption = Annotated[
    str | None, typer.Option("--layers", metavar="NAME,...", help="These layers instead of all large ones.")
]
TestDataOption = Annotated[
    str | None,
    shared("--data", here="Top-1 before and after is measured on their test part.", metavar=DATA),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend", metavar="reference|c|torch", help="What computes: the NumPy reference, emitted C, or PyTorch."
    ),
]
CheckOption = Annotated[bool, typer.Option("--check", help="Compare every output of C with the NumPy reference.")]

# -- train -------------------------------------------------------------------------------------------------------------

TrainDataOption = Annotated[str, shared("--data", here="Trained on one part, tested on the other.", metavar=DATA)]
RunOption = Annotated[Path, shared("--out", here="The folder of the run.", metavar="RUN")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME|FILE.toml", help="How to train; chosen by the data by default.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Overrides the recipe's epochs.")]
BatchOption = Annotated[
    int | None, shared("--batch", here="Of a step, over all processes; overrides the recipe's.", min=1)
]
UpscaleOption = Annotated[
    int | None,
    typer.Option("--upscale", min=1, metavar="SIDE", help="Resize pictures, and the network's input, to this side."),
]
HeldBackOption = Annotated[
    float | None,
    typer.Option(
        "--held-back",
        min=0,
        metavar="N|SHARE",
        help="Training pictures kept apart to choose the best epoch by, in place of the test part.",
    ),
]
FreezeOption = Annotated[bool, typer.Option("--freeze", help="Train the last layer alone.")]
TrainTernaryOption = Annotated[
    bool, typer.Option("--ternary", help="Train ternary weights (trained ternary quantisation).")
]
TeacherOption = Annotated[
    str | None,
    typer.Option("--teacher", metavar="MODEL", help="Learn from a trained network of the same classes as well."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of drawn weights, order and augmentation.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in RUN.")]
PartLimitOption = Annotated[int | None, shared("--limit", here="Of each part.", min=1)]
TrainThreadsOption = Annotated[int | None, shared("--threads", here="Of each process; measured by default.", min=1)]
ProcessesOption = Annotated[
    int, typer.Option("--processes", min=1, help="Processes on this machine that share each batch.")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="Device that PyTorch trains on.")]
SaveSecondsOption = Annotated[
    float, typer.Option("--save-seconds", min=0.0, help="Seconds between checkpoints; one an epoch in any case.")
]
SaveStepsOption = Annotated[int | None, typer.Option("--save-steps", min=1, help="Steps between checkpoints as well.")]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch a data set that is not there.")]
