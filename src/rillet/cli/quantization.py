"""The command that makes integers of a float network: quantize."""

from typing import TYPE_CHECKING

from rillet.cli.app import (
    ModelArgument,
    WeightsOption,
    open_named,
    warn,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import (
    CalibrationDataOption,
    CalibrationLimitOption,
    CalibrationOption,
    CompareOption,
    CorrectBiasOption,
    EqualizeOption,
    FewBitsOption,
    FloatOption,
    LayerErrorsOption,
    MeasureOption,
    NetworkFileOption,
    RoundingOption,
    ThresholdOption,
)

if TYPE_CHECKING:
    from rillet.api.changes import QuantizationTable, Quantized
    from rillet.report.screen import Screen


@command
def quantize(
    model: ModelArgument,
    data: CalibrationDataOption,
    out: NetworkFileOption = None,
    weights: WeightsOption = None,
    weight_bits: FewBitsOption = "8",
    threshold: ThresholdOption = None,
    real: FloatOption = False,
    rounding: RoundingOption = None,
    calibration: CalibrationOption = None,
    equalize: EqualizeOption = False,
    correct_bias: CorrectBiasOption = False,
    limit: CalibrationLimitOption = None,
    evaluate: MeasureOption = False,
    compare: CompareOption = False,
    layer_errors: LayerErrorsOption = False,
    *,
    form: Form,
) -> None:
    """Quantises a float network to 8-bit integers after training, or large layers to ternary or binary weights."""
    from rillet.api import changes
    from rillet.report.progress import silent

    given = (
        weight_bits,
        real,
        threshold,
        rounding,
        calibration,
        equalize,
        correct_bias,
        limit,
        evaluate,
        layer_errors,
        out,
    )
    asked = changes.QuantizeOptions(*given, compare)
    graph, work = open_named(model, weights=weights).graph, changes.compare_by if compare else changes.quantize_by
    made = work(graph, data, asked, silent if form.json else None, warn)
    form.show(made.to_dict, lambda console: _draw(console, made))


def _draw(console: "Screen", made: "Quantized | QuantizationTable") -> None:
    from rillet.api.changes import QuantizationTable
    from rillet.report import quantization as report
    from rillet.report.analysis_views import quantized_lines
    from rillet.report.tables import write

    if isinstance(made, QuantizationTable):
        write(console, report.comparison(made.rows))
        return
    for line in quantized_lines(made):
        console.print(line, soft_wrap=True)
    if made.layers is not None:
        write(console, report.layers(made.layers))
