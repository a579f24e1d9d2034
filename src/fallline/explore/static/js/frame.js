// An answer of the server, read: the number of its request, what it says, and its arrays where they lie.
const KINDS = { f8: Float64Array, f4: Float32Array, i4: Int32Array, u1: Uint8Array };
const NUMBER = 16;

export function readFrame(buffer) {
  const number = new TextDecoder().decode(new Uint8Array(buffer, 0, NUMBER)).trim();
  const length = new DataView(buffer, NUMBER).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, NUMBER + 4, length)));
  const arrays = {};
  for (const [name, [kind, shape, at]] of Object.entries(said.arrays)) {
    const count = shape.reduce((product, size) => product * size, 1);
    arrays[name] = new KINDS[kind](buffer, NUMBER + 4 + length + at, count);
  }
  return { number: number === "" ? null : Number(number), said, arrays };
}
