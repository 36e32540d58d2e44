"""Prints the table of docs/host.md: how fast Rillet is beside ONNX Runtime, OpenVINO and LiteRT, network by network.

usage: python bench/table.py [--rounds N] [--threads 1,2] [--batch 1,16] [--precision f32,int8] [--only WORDS]
       [--target NAME]

RILLET_MODELS names the folders of the .tflite files.
"""

import argparse
import json
import subprocess
import sys
from datetime import date
from itertools import product

from rillet.bench.peers import PEERS as PEERS_KNOWN
from rillet.errors import RilletError
from rillet.models.hub import find, local

PEERS = ("onnxruntime", "openvino", "litert")
NETWORKS = (
    ("MobileNetV2 1.0 224", "mobilenet_v2:seed=0", "f32,int8,bf16"),
    ("the same, imported .tflite, exact rounding", "hub:tf2_mobilenet_v2_ptq", "int8"),
    ("MobileNetV2 0.35 96", "mobilenet_v2:width=0.35,resolution=96,seed=0", "f32,int8,bf16"),
    ("MobileNetV1 0.25 96, visual wake words, .tflite", "hub:vww_96_int8", "int8"),
    ("MobileNetV2, FuSe half", "mobilenet_v2:fuse=half,seed=0", "f32,int8,bf16"),
    ("MobileNetV3 large", "mobilenet_v3_large:seed=0", "f32,int8,bf16"),
    ("MobileNetV3 small", "mobilenet_v3_small:seed=0", "f32,int8,bf16"),
    ("MnasNet B1", "mnasnet_b1:seed=0", "f32,int8,bf16"),
    ("SqueezeNet 1.1", "squeezenet1_1:seed=0", "f32,int8,bf16"),
    ("ResNet-18", "resnet18:seed=0", "f32,int8,bf16"),
    ("MicroBotNet x0.32", "microbotnet:width=0.32,seed=0", "f32,int8,bf16"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", default="20")
    parser.add_argument("--threads", default="1")
    parser.add_argument("--batch", default="1")
    parser.add_argument("--precision", default="f32,int8")
    parser.add_argument("--target", default="host", help="what Rillet's program is made for")
    parser.add_argument("--only", default="", help="only networks whose name has these words")
    said = parser.parse_args()
    counts, batches = (tuple(map(int, words.split(","))) for words in (said.threads, said.batch))
    print("| network | precision | threads | batch | Rillet ms | of peak | MB | " + " | ".join(PEERS) + " |")
    print("|---|---|" + "---:|" * (5 + len(PEERS)))
    machine: dict[str, object] = {}
    for label, model, has in NETWORKS:
        precisions = ",".join(word for word in has.split(",") if word in said.precision.split(","))
        if said.only not in label or not precisions or not _here(model):
            continue
        options = ["--batch", said.batch, "--target", said.target]
        options += ["--precision", precisions, "--against", ",".join(PEERS), "--rounds", said.rounds, "--json"]
        command = [sys.executable, "-m", "rillet", "bench", model, *options, "--threads", said.threads]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        records = json.loads(done.stdout)
        machine = records[0]["machine"]
        for kind in product(precisions.split(","), counts, batches):
            chosen = (r for r in records if (r["precision"], r["threads"], r["batch"]) == kind)
            rows = {record["runtime"]: record for record in chosen}
            ours = rows["rillet"]
            ratios = (f"{rows[peer]['ratio']:.2f} x" if peer in rows else "-" for peer in PEERS)
            # The peak is that of the machine, not of a lesser one.
            peak = f"{ours['peak_share']:.0%}" if said.target == "host" else "-"
            numbers = (f"{ours['min_ms']:.3f}", peak, f"{ours['rss_mb']:.1f}", *ratios)
            print(f"| {label} | {' | '.join([*map(str, kind), *numbers])} |", flush=True)
    versions = ", ".join(f"{peer} {PEERS_KNOWN[peer].version}" for peer in PEERS)
    print(f"\n{machine.get('cpu')}, {date.today()}, {machine.get('compiler')}; {versions}; Rillet as {said.target}")


def _here(model: str) -> bool:
    """False for a published file that is in none of the folders."""
    try:
        return not model.startswith("hub:") or local(find(model[4:])) is not None
    except RilletError:
        return False


if __name__ == "__main__":
    main()
