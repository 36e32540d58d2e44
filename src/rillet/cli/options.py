"""Options that several commands share, and those of commands with many."""

from pathlib import Path
from typing import Annotated

import typer

from rillet.cli.app import DATA

BoardBitsOption = Annotated[
    int | None,
    typer.Option(
        "--bits", metavar="8|32", help="Bits of values and weights on a board; by default those of the network."
    ),
]
"""Of fit and cost."""
NodeOption = Annotated[str, typer.Option("--node", metavar="45nm|7nm|FILE.toml", help="Process technology of energy.")]
NetworkFileOption = Annotated[
    Path | None, typer.Option("-o", "--out", metavar="FILE", help="A file ending in .rlt or .onnx.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many pictures.")]

# -- count, explain, convert -------------------------------------------------------------------------------------------

ConventionOption = Annotated[
    str | None,
    typer.Option(
        "--convention", metavar="macs|thop-2020|pthflops|slim|keras", help="What is counted; macs by default."
    ),
]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="layer|block|kind", help="How it is summed; by block by default.")
]
TernaryCountOption = Annotated[
    bool,
    typer.Option("--ternary", help="Only how many weights are ternary or binary, and how many are +, 0 and -."),
]
LiveCountOption = Annotated[
    bool, typer.Option("--live", help="Only which channels change no output byte, and what goes with them.")
]
LayerOption = Annotated[str | None, typer.Option("--layer", metavar="NAME", help="One layer in detail.")]
DemandOption = Annotated[
    float | None, typer.Option("--fps", help="Images a second that the machine must do, 30 by default.")
]
BoardMemoryOption = Annotated[
    str | None, typer.Option("--board", metavar="SIZE", help="Memory of the board, 256KiB by default.")
]
ConvertFileOption = Annotated[
    Path, typer.Option("-o", "--out", metavar="FILE", help="A file ending in .onnx, .rlt, .safetensors or .tflite.")
]
DequantizeOption = Annotated[bool, typer.Option("--dequantize", help="Make a quantised network a float one.")]
FoldOption = Annotated[bool, typer.Option("--fold", help="Fold batch norms into the convolutions before them.")]

# -- systolic, energy, fit, cost ---------------------------------------------------------------------------------------

RowsOption = Annotated[int, typer.Option("--rows", help="Rows of the array.")]
ColumnsOption = Annotated[int, typer.Option("--columns", help="Columns of the array.")]
DataflowOption = Annotated[
    str,
    typer.Option("--dataflow", metavar="os|ws|is", help="Stationary operand: os = outputs, ws = weights, is = inputs."),
]
CyclesOption = Annotated[
    str,
    typer.Option("--convention", metavar="exact|scalesim|fuse", help="Whose count of cycles (docs/systolic.md)."),
]
HardwareOption = Annotated[
    str, typer.Option("--hardware", metavar="systolic|fuse", help="Plain, or with a weight broadcast in each row.")
]
ExactMapsOption = Annotated[
    bool, typer.Option("--exact-maps", help="Use the true output sizes instead of SCALE-Sim's.")
]
SramOption = Annotated[float | None, typer.Option("--sram", help="Bytes a cycle that the on-chip buffers deliver.")]
DramOption = Annotated[float | None, typer.Option("--dram", help="Bytes a cycle that DRAM delivers.")]
OperandOption = Annotated[str, typer.Option("--bits", help="Operand type: 8, 32, int8, bf16, fp32 ...")]
AccumulatorOption = Annotated[
    str, typer.Option("--accumulator", help="Accumulator type: a number of integer bits, int32, fp32, ...")
]
WeightBitsOption = Annotated[
    int | None, typer.Option("--weight-bits", help="Bits of a weight; by default those of the operands.")
]
ScheduleOption = Annotated[
    str,
    typer.Option("--schedule", metavar="layerwise|stream|systolic", help="How often each value is read from memory."),
]
WeightMemoryOption = Annotated[
    str | None,
    typer.Option("--weight-memory", metavar="sram_8KB|...|dram", help="Memory that the weights are read from."),
]
ArrayOption = Annotated[
    int | None, typer.Option("--array", min=1, help="Rows and columns of the systolic array, 64 by default.")
]
BoardOption = Annotated[
    str | None, typer.Option("--target", metavar="BOARD|FILE.toml", help="A board, nano33ble by default.")
]
AllBoardsOption = Annotated[bool, typer.Option("--all", help="A table of all known boards.")]
MostWeightBitsOption = Annotated[
    int | None, typer.Option("--weight-bits", help="As if no weight had more bits than this.")
]
MachinesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--target", metavar="NAME|FILE.toml|all", help="A machine; may be given several times. All by default."
    ),
]
RateOption = Annotated[float, typer.Option("--fps", help="Images a second that are asked of a machine.")]
PageOption = Annotated[
    Path | None,
    typer.Option("-o", "--out", metavar="FILE", help="A page (.html, with pictures), or the table (.md, .csv)."),
]

# -- quantize, compress, evaluate --------------------------------------------------------------------------------------

CalibrationDataOption = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="cifar10[:DIR]|cifar100[:DIR]|DIR|random",
        help="Pictures to calibrate with, their training part; or noise, where accuracy does not matter.",
    ),
]
FewBitsOption = Annotated[str, typer.Option("--bits", metavar="8|ternary|binary", help="Bits of a weight.")]
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
CalibrationLimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Pictures to calibrate with, 128 by default.")
]
MeasureOption = Annotated[bool, typer.Option("--evaluate", help="Measure accuracy before and after, on the test part.")]
CompareOption = Annotated[
    bool, typer.Option("--compare", help="Only print accuracy and size under both rules and all calibrations.")
]
LossesOption = Annotated[bool, typer.Option("--layers", help="Show how much each layer loses, in decibels.")]
SparsityOption = Annotated[
    float | None,
    typer.Option("--sparsity", help="Fraction of each layer's weights that become zero, the least ones."),
]
SharedBitsOption = Annotated[
    int | None, typer.Option("--bits", help="Share weights: at most 2^bits values a layer, beside zero.")
]
MoreThanOption = Annotated[
    int | None,
    typer.Option("--more-than", min=0, help="Layers of so few weights stay as they are; 1000 by default."),
]
LayersOption = Annotated[
    str | None, typer.Option("--layers", metavar="NAME,...", help="These layers instead of all large ones.")
]
TestDataOption = Annotated[
    str | None, typer.Option("--evaluate", metavar="DATA", help="Measure top-1 before and after on its test part.")
]
BackendOption = Annotated[str, typer.Option("--backend", metavar="reference|c|torch", help="What computes.")]
CheckOption = Annotated[bool, typer.Option("--check", help="Compare every output of C with the reference's.")]

# -- train -------------------------------------------------------------------------------------------------------------

TrainDataOption = Annotated[
    str, typer.Option("--data", metavar=DATA, help="Labelled pictures, with a part to test on.")
]
RunOption = Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run.")]
RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME|FILE.toml", help="How to train; chosen by the data by default.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Overrides the recipe's epochs.")]
BatchOption = Annotated[
    int | None, typer.Option("--batch", min=1, help="Pictures a step, over all processes; overrides the recipe's.")
]
UpscaleOption = Annotated[
    int | None,
    typer.Option("--upscale", min=1, metavar="SIDE", help="Resize pictures, and the network's input, to this side."),
]
FreezeOption = Annotated[bool, typer.Option("--freeze", help="Train the last layer alone.")]
TrainTernaryOption = Annotated[bool, typer.Option("--ternary", help="Trained ternary quantisation.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of drawn weights, order and augmentation.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run in RUN.")]
PartLimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many pictures of each part.")]
TrainThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="Threads of each process; measured by default.")
]
ProcessesOption = Annotated[
    int, typer.Option("--processes", min=1, help="Processes on this machine that share each batch.")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda", help="What computes.")]
SaveSecondsOption = Annotated[
    float, typer.Option("--save-seconds", min=0.0, help="Seconds between checkpoints; one an epoch in any case.")
]
SaveStepsOption = Annotated[int | None, typer.Option("--save-steps", min=1, help="Steps between checkpoints as well.")]
DownloadOption = Annotated[bool, typer.Option("--download", help="Fetch a data set that is not there.")]
