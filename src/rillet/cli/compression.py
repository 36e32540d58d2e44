"""The command that prunes, shares and measures: compress."""

from typing import TYPE_CHECKING

from rillet.cli.app import (
    ModelArgument,
    WeightsOption,
    names,
    open_named,
)
from rillet.cli.forms import Form, command
from rillet.cli.options import (
    IndexBitsOption,
    LayersOption,
    MoreThanOption,
    NetworkFileOption,
    SparsityOption,
    TestDataOption,
)

if TYPE_CHECKING:
    from rillet.report.screen import Screen


@command
def compress(
    model: ModelArgument,
    weights: WeightsOption = None,
    sparsity: SparsityOption = None,
    index_bits: IndexBitsOption = None,
    more_than: MoreThanOption = None,
    layers: LayersOption = None,
    out: NetworkFileOption = None,
    data: TestDataOption = None,
    *,
    form: Form,
) -> None:
    """Prunes a network, shares its weights, and shows its size dense, packed and coded."""
    from rillet.api import changes
    from rillet.report import sizes
    from rillet.report.analysis_views import compressed_lines
    from rillet.report.tables import write

    asked = changes.CompressOptions(sparsity=sparsity, bits=index_bits, more_than=more_than, layers=names(layers))
    made = changes.compress_by(open_named(model, weights=weights).graph, asked, out=out, evaluate=data)

    def text(console: "Screen") -> None:
        write(console, sizes.sizes(made.size))
        for line in compressed_lines(made):
            console.print(line, soft_wrap=True)

    form.show(made.to_dict, text)
