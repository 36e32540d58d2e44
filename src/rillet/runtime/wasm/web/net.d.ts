/** Values of a tensor as the network stores them. */
export type Values = Int8Array | Uint8Array | Int16Array | Int32Array | Float32Array;

/** An ImageData, or the like: four bytes a pixel. */
export interface Picture {
  data: ArrayLike<number>;
  width: number;
  height: number;
}

/** A value of the network; real numbers are (stored - zeroPoint) * scale, where it has a scale. */
export interface Value {
  name: string;
  height: number;
  width: number;
  channels: number;
  type: "int8" | "uint8" | "int16" | "int32" | "float32";
  bytes: number;
  count: number;
  scale: number | null;
  zeroPoint: number;
  /** Bytes are eight values of -1 or 1 each. */
  bits?: true;
}

/** A value that the network makes, or is given: its name and size, and the rest where the module shows its values. */
export interface Place extends Partial<Value> {
  name: string;
  height: number;
  width: number;
  /** An input or a constant. */
  given?: boolean;
}

export interface Facts {
  rillet: string;
  name: string;
  macs: number;
  weightBytes: number;
  arenaBytes: number;
  traced: boolean;
  /** False for the build that engines without SIMD are given. */
  simd: boolean;
  /** True for the build that engines are given to which relaxed dot products are exact (`hasDot`). */
  relaxed: boolean;
  /** The first of the inputs. */
  input: Value;
  inputs: Value[];
  picture: { resize: "stretch" | "crop"; detail: number; labels: string[] } | null;
  classifier: "probabilities" | "logits" | null;
  outputs: Value[];
  values: Place[];
  segments: { bytes: number; values: number[] }[];
}

export interface Class {
  label: string;
  index: number;
  probability: number;
}

export interface Result {
  outputs: Values[];
  /** The most probable classes; none where the network is no classifier. */
  top: Class[];
  milliseconds: number;
}

export class Net {
  readonly module: WebAssembly.Module;
  readonly facts: Facts;
  readonly name: string;
  readonly labels: string[];
  /** The image as the network stores it. */
  readonly image: Values;
  /** All inputs as the network stores them, the image first. */
  readonly inputs: Values[];
  /** After `show`: the bytes of the picture at the input's size. */
  readonly pixels: Uint8Array;
  readonly arena: Uint8Array;
  /** Pixels of each of `facts.values` that are computed by now. */
  readonly made: Int32Array;
  /** What has fired since the image began, in its order: value and pixels of each firing, side by side. */
  readonly fired: Int32Array;
  run(picture: Picture, count?: number): Result;
  show(picture: Picture): void;
  /** Of several inputs an array for each. */
  compute(values?: ArrayLike<number> | ArrayLike<number>[]): Values[];
  start(): void;
  push(row: number, values?: ArrayLike<number>): void;
  pushed(): Values[];
  real(output: Values, index?: number): Float64Array;
  top(outputs: Values[], count?: number): Class[];
  trace(): Map<string, Values>;
}

export function load(source?: URL | string | Response | BufferSource | WebAssembly.Module): Promise<Net>;
export function hasSimd(): boolean;
export function hasDot(): boolean;
export function fitted(
  picture: Picture,
  spec: { height: number; width: number; channels: number; resize: "stretch" | "crop"; detail: number },
): Uint8Array;
