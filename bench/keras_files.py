"""Writes Keras's applications as TensorFlow's converter makes them, five .tflite files each.

usage: /path/to/venv/bin/python bench/keras_files.py FOLDER [--only WORDS] [--kinds KIND,...] [--side 96]

For coverage.py's part `keras`. Runs where tensorflow is installed, which Rillet's own environment need not have
(`pip install tensorflow-cpu==2.21.0` into another one). Weights are drawn by seed, batch norms' statistics too, so
nothing is downloaded. Files that are there stay. One is called NAME.KIND.tflite: float, float16, dynamic (int8 weights,
float activations), int8, int16x8.
"""

import argparse
import io
import os
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np
import tensorflow as tf  # pyright: ignore[reportMissingImports]

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
from rillet.system.files import write_file

NAMES = (
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "NASNetMobile",
    "DenseNet121",
    "ResNet50",
)
KINDS = ("float", "float16", "dynamic", "int8", "int16x8")
LOGITS = 30.0
"""By which the last layer's weights are multiplied: LiteRT's reference of an int8 softmax ends the process where
hundreds of classes are alike.
"""
IMAGES = 4
"""Random pictures by which activations' ranges are found."""


def network(name: str, side: int) -> Any:
    tf.keras.utils.set_random_seed(0)
    made = getattr(tf.keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=1000)
    rng = np.random.default_rng(0)
    for layer in made.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            size = layer.moving_mean.shape
            layer.moving_mean.assign(rng.normal(0, 0.1, size).astype(np.float32))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, size).astype(np.float32))
            layer.gamma.assign(rng.uniform(0.8, 1.2, size).astype(np.float32))
            layer.beta.assign(rng.normal(0, 0.1, size).astype(np.float32))
    last = [layer for layer in made.layers if getattr(layer, "kernel", None) is not None][-1]
    last.kernel.assign(last.kernel * LOGITS)
    return made


def pictures(side: int) -> Iterator[list[Any]]:
    rng = np.random.default_rng(1)
    for _ in range(IMAGES):
        yield [rng.uniform(0, 255, (1, side, side, 3)).astype(np.float32)]


def converted(made: Any, kind: str, side: int) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(made)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "int16x8"):
        converter.representative_dataset = lambda: pictures(side)
    if kind == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    if kind == "int16x8":
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            sets.TFLITE_BUILTINS,
        ]
        converter.inference_input_type = converter.inference_output_type = tf.int16
    return converter.convert()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="", help="only files whose name has these words")
    parser.add_argument("--kinds", default=",".join(KINDS), help="only these, commas between")
    parser.add_argument("--side", type=int, default=96, help="height and width of the input")
    said = parser.parse_args()
    said.folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        made = None
        for kind in said.kinds.split(","):
            path = said.folder / f"{name}.{kind}.tflite"
            if path.exists() or said.only not in path.name:
                continue
            made = made or network(name, said.side)
            try:
                with redirect_stdout(io.StringIO()):  # every variable's name
                    data = converted(made, kind, said.side)
            except Exception as error:  # the converter raises what it likes
                print(f"{path.name}: {str(error).splitlines()[0][:200]}", flush=True)
                continue
            write_file(path, data)
            print(path.name, len(data), flush=True)


if __name__ == "__main__":
    main()
