// Arrays as `dtalk.utils.tensors` packs them: a safetensors file, gzipped.
// Source: https://huggingface.co/docs/safetensors

const TYPES = { F32: Float32Array, I32: Int32Array, I16: Int16Array, U8: Uint8Array };

/** Bytes of a base64 text. */
export function decodeBase64(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** Read packed bytes: `{ arrays: {name: typed array}, metadata }`. */
export async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const { steps, differences, ...metadata } = JSON.parse(header.__metadata__.dtalk);
  delete header.__metadata__;
  const arrays = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
    let stored = new TYPES[dtype](buffer.slice(8 + length + start, 8 + length + end));
    if (differences.includes(name)) stored = accumulated(stored, shape.at(-1));
    arrays[name] = name in steps ? scaled(stored, steps[name]) : stored;
  }
  return { arrays, metadata };
}

/** Values whose differences along the last axis, of length `width`, are given. */
function accumulated(differences, width) {
  const values = new Int32Array(differences);
  for (let i = 0; i < values.length; i++) if (i % width) values[i] += values[i - 1];
  return values;
}

function scaled(whole, step) {
  const values = new Float32Array(whole.length);
  for (let i = 0; i < values.length; i++) values[i] = step * whole[i];
  return values;
}
