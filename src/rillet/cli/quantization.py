"""The command that makes integers of a float network: quantize."""

from typing import TYPE_CHECKING

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    MarkdownOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    one_form,
    open_named,
    print_json,
    say,
    warn,
)
from rillet.cli.options import (
    CalibrationDataOption,
    CalibrationLimitOption,
    CalibrationOption,
    CompareOption,
    CorrectBiasOption,
    EqualizeOption,
    FewBitsOption,
    FloatOption,
    LossesOption,
    MeasureOption,
    NetworkFileOption,
    RoundingOption,
    ThresholdOption,
)
from rillet.system.options import Uses

if TYPE_CHECKING:
    from rillet.api.changes import QuantizationTable, Quantized

SHOWN = Uses({"--compare": ("--csv", "--markdown"), "--layers": ("--csv", "--markdown"), "neither": ()})
"""What is shown as a table."""


@app.command()
def quantize(
    model: ModelArgument,
    data: CalibrationDataOption,
    out: NetworkFileOption = None,
    weights: WeightsOption = None,
    bits: FewBitsOption = "8",
    threshold: ThresholdOption = None,
    real: FloatOption = False,
    rounding: RoundingOption = None,
    calibration: CalibrationOption = None,
    equalize: EqualizeOption = False,
    correct_bias: CorrectBiasOption = False,
    limit: CalibrationLimitOption = None,
    evaluate: MeasureOption = False,
    compare: CompareOption = False,
    layers: LossesOption = False,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Makes a network of 8-bit integers of a float one, by post-training quantisation; large layers of fewer bits."""
    from rillet.api import changes
    from rillet.report.progress import silent

    given = (bits, real, threshold, rounding, calibration, equalize, correct_bias, limit, evaluate, layers, out)
    asked = changes.QuantizeOptions(*given, compare)
    SHOWN.check("--compare" if compare else "--layers" if layers else "neither", {"--csv": csv, "--markdown": markdown})
    one_form(csv, markdown, json_output)
    graph, work = open_named(model, weights=weights).graph, changes.compare_by if compare else changes.quantize_by
    made = work(graph, data, asked, silent if json_output else None, warn)
    if json_output:
        print_json(made.to_dict())
    else:
        _print(made, csv=csv, markdown=markdown)


def _print(made: "Quantized | QuantizationTable", *, csv: bool, markdown: bool) -> None:
    from rillet.api.changes import QuantizationTable
    from rillet.report import quantization as report
    from rillet.report.analysis_views import quantized_lines
    from rillet.report.tables import write

    if isinstance(made, QuantizationTable):
        write(make_console(), report.comparison(made.rows), csv=csv, markdown=markdown)
        return
    for line in quantized_lines(made):
        say(line)
    if made.layers is not None:
        write(make_console(), report.layers(made.layers), csv=csv, markdown=markdown)
