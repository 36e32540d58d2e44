"""Every kernel set defines the words that kernels are written in, and every table that knows kernel sets knows it."""

import re

import pytest

from conftest import ROOT
from rillet.backends.c.flags import EXTRA_FLAGS, MACHINE_FLAGS
from rillet.ir.types import DType
from rillet.plan.host.planner import MACS_PER_NS
from rillet.plan.host.tilings import VECTORS
from rillet.targets import host

KERNELS = ROOT / "src" / "rillet" / "backends" / "c" / "kernels"
PAGE = (KERNELS / "vector_words.md").read_text()
REQUIRED, *TOGETHER = PAGE.split("## All or none")
WORD = re.compile(r"^\| `([^`]+)` \|", re.M)
SETS = sorted(VECTORS)


def name_of(signature: str) -> str:
    return signature.partition("(")[0].split()[-1]


def header(kernels: str) -> str:
    """The text of a set's header, with the words that it shares with others, comments left out."""
    own = (KERNELS / f"vector_{kernels}.h").read_text()
    whole = re.sub(r'#include "(words_\w+\.h)"', lambda found: (KERNELS / found[1]).read_text(), own)
    return re.sub(r"/\*.*?\*/", " ", whole, flags=re.S)


def defined(text: str) -> dict[str, str]:
    """By word, its signature; of macros and types just the word."""
    found = {word: word for word in re.findall(r"#define (\w+)", text)}
    found |= {word: word for word in re.findall(r"typedef [\w ]+?(\w+);", text)}
    found |= {word: word for word in re.findall(r"^} (\w+);", text, re.M)}
    for kind, word, arguments in re.findall(r"RILLET_TILE\s+([\w ]+?\*?)\s*\b(rillet_\w+)\(([^)]*)\)", text):
        found[word] = f"{kind} {word}({' '.join(arguments.split())})"
    for word, other in re.findall(r"#define (rillet_\w+) (rillet_\w+)$", text, re.M):
        found[word] = found[other].replace(other, word)
    return found


def lacking(text: str) -> list[str]:
    """The words of the page that the header lacks, or has with another signature."""
    found = defined(text)
    wanted = WORD.findall(REQUIRED)
    for together in map(WORD.findall, TOGETHER):
        wanted += together if any(name_of(word) in found for word in together) else []
    return [signature for signature in wanted if found.get(name_of(signature)) != signature]


def test_the_page_lists_what_kernels_use() -> None:
    """What a set defines and another file of the backend uses is on the page, and nothing is there twice."""
    words = [name_of(word) for word in WORD.findall(PAGE)]
    assert len(words) == len(set(words)) > 30
    files = [*KERNELS.glob("*.h"), *KERNELS.parent.glob("*.py")]
    others = "\n".join(path.read_text() for path in files if not path.name.startswith(("vector_", "words_")))
    for kernels in SETS:
        used = set(defined(header(kernels))) & set(re.findall(r"\w+", others))
        assert used <= {*words}, kernels


@pytest.mark.parametrize("kernels", SETS)
def test_a_set_defines_every_word(kernels: str) -> None:
    assert lacking(header(kernels)) == []


@pytest.mark.parametrize("kernels", SETS)
def test_a_missing_or_changed_word_is_seen(kernels: str) -> None:
    text = header(kernels)
    assert lacking(text.replace("rillet_sums_less", "rillet_sums_lesser"))
    assert lacking(text.replace("int32_t careful", "int64_t careful"))
    if "rillet_table_look" in text:
        assert lacking(text.replace("rillet_table_look(", "rillet_table_find("))


@pytest.mark.parametrize("kernels", SETS)
def test_the_planner_and_the_header_agree(kernels: str) -> None:
    text, vectors = header(kernels), VECTORS[kernels]
    assert f"#define RILLET_LANES {vectors.lanes}\n" in re.sub(r" +\n", "\n", text)
    assert ("#define RILLET_COMPACT" in text) == vectors.compact
    assert ("#define RILLET_ADDS" in text) == vectors.adds
    assert ("#define RILLET_MATRIX_ROWS" in text) == vectors.matrix
    assert f"typedef {'uint8_t' if vectors.byte is DType.U8 else 'int8_t'} rillet_byte;" in text


def test_every_table_knows_every_set() -> None:
    assert {"portable", *SETS} == set(host.KERNELS) == set(MACHINE_FLAGS) == set(MACS_PER_NS)
    assert {path.stem.removeprefix("vector_") for path in KERNELS.glob("vector_*.h")} == set(SETS)
    assert set(host._NEEDS) | {host.WASM} == set(SETS)  # pyright: ignore[reportPrivateUsage]
    extras = host._EXTRAS.values()  # pyright: ignore[reportPrivateUsage]
    assert {word for words in extras for word in words} <= set(EXTRA_FLAGS)


def test_the_guide_names_every_table() -> None:
    guide = (ROOT / "docs" / "add-a-kernel-set.md").read_text()
    for name in ("KERNELS", "_NEEDS", "_EXTRAS", "VECTORS", "MACHINE_FLAGS", "EXTRA_FLAGS", "MACS_PER_NS"):
        assert f"`{name}`" in guide
    for path in re.findall(r"`((?:src|tests|bench|docs)/[\w/.]+)`", guide):
        assert (ROOT / path).exists(), path
