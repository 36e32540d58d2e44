"""What `rillet doctor` found, for the terminal."""

from rillet.report.screen import Grid, Screen, columns
from rillet.report.text import facts
from rillet.runtime.doctor import Diagnosis


def diagnosis(console: Screen, found: Diagnosis) -> None:
    """The machine, the packages with what each is for, and what is missing for what."""
    trusted = "trusted" if found.cache_trusted else "not trusted: a private folder is used for each run"
    console.draw(
        facts(
            [
                ("rillet", found.rillet, f"Python {found.python}, {found.system}"),
                ("C compiler", found.compiler_version or "none", found.compiler or "install gcc or clang"),
                ("kernels", found.kernels, f"{found.processor}, {found.cores} cores"),
                ("cache", found.cache, trusted),
            ]
        )
    )
    console.print()
    names = ("package", "version", "for", "install")
    rows = [(one.name, one.version or "-", one.purpose, "" if one.version else one.install) for one in found.packages]
    console.draw(Grid(columns(names, words=names, wrap=("for", "install"), leave=("for",)), rows))
    console.print()
    for one in found.oracles:
        state = one.version or f"not installed: pip install {one.package}"
        console.print(f"oracle {one.name} (verify --against {one.name}): {state}")
    for problem in found.problems:
        console.print(f"problem: {problem}")
    if found.healthy:
        console.print("networks can be built and run on this machine")
