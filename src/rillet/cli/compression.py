"""The command that prunes, shares and measures: compress."""

from rillet.cli.app import (
    CsvOption,
    JsonOption,
    MarkdownOption,
    ModelArgument,
    WeightsOption,
    app,
    make_console,
    names,
    one_form,
    open_named,
    print_json,
    say,
)
from rillet.cli.options import (
    LayersOption,
    MoreThanOption,
    NetworkFileOption,
    SharedBitsOption,
    SparsityOption,
    TestDataOption,
)


@app.command()
def compress(
    model: ModelArgument,
    weights: WeightsOption = None,
    sparsity: SparsityOption = None,
    bits: SharedBitsOption = None,
    more_than: MoreThanOption = None,
    layers: LayersOption = None,
    out: NetworkFileOption = None,
    evaluate: TestDataOption = None,
    csv: CsvOption = False,
    markdown: MarkdownOption = False,
    json_output: JsonOption = False,
) -> None:
    """Prunes a network, shares its weights, and shows its size dense, packed and coded."""
    from rillet.api import changes
    from rillet.report import sizes
    from rillet.report.analysis_views import compressed_lines
    from rillet.report.tables import write

    one_form(csv, markdown, json_output)
    asked = changes.CompressOptions(sparsity=sparsity, bits=bits, more_than=more_than, layers=names(layers))
    made = changes.compress_by(open_named(model, weights=weights).graph, asked, out=out, evaluate=evaluate)
    if json_output:
        print_json(made.to_dict())
        return
    write(make_console(), sizes.sizes(made.size), csv=csv, markdown=markdown)
    for line in compressed_lines(made) if not (csv or markdown) else ():
        say(line)
