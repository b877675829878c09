// Appends curves to a GLB whose first node has the 52 morph targets, in their order.

const [JSON_CHUNK, BINARY_CHUNK] = [0x4e4f534a, 0x004e4942];
const FLOAT = 5126;

/** The GLB with an animation: `curves` [T, width], keys at the frames' centres; `about` is noted. */
export function withAnimation(glb, curves, width, fps, about) {
  const { content, binary } = parse(glb);
  const frames = curves.length / width;
  const times = Float32Array.from({ length: frames }, (_, k) => (k + 0.5) / fps);
  const parts = [binary];
  const input = addAccessor(content, parts, times, { min: [times[0]], max: [times.at(-1)] });
  const output = addAccessor(content, parts, curves);
  const extras = { fps, ...about };
  content.animations = [{
    channels: [{ sampler: 0, target: { node: 0, path: "weights" } }],
    samplers: [{ input, output, interpolation: "LINEAR" }],
    extras,
  }];
  content.asset.extras = { dtalk: extras };
  content.buffers[0].byteLength = sizeOf(parts);
  return assemble(content, parts);
}

function parse(glb) {
  const view = new DataView(glb);
  const length = view.getUint32(12, true);
  const content = JSON.parse(new TextDecoder().decode(new Uint8Array(glb, 20, length)));
  return { content, binary: new Uint8Array(glb, 28 + length, view.getUint32(20 + length, true)) };
}

function addAccessor(content, parts, values, bounds = {}) {
  const byteOffset = sizeOf(parts); // of whole floats, as all parts are
  parts.push(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  content.bufferViews.push({ buffer: 0, byteOffset, byteLength: values.byteLength });
  content.accessors.push({
    bufferView: content.bufferViews.length - 1, componentType: FLOAT, count: values.length,
    type: "SCALAR", ...bounds,
  });
  return content.accessors.length - 1;
}

function sizeOf(parts) {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

function assemble(content, parts) {
  const text = new TextEncoder().encode(JSON.stringify(content));
  const padding = new TextEncoder().encode(" ".repeat(-text.length & 3));
  const textSize = text.length + padding.length;
  const binarySize = sizeOf(parts);
  const words = (...values) => Uint32Array.from(values); // little-endian, as all browsers are
  return new Blob([
    words(0x46546c67, 2, 28 + textSize + binarySize, textSize, JSON_CHUNK), text, padding,
    words(binarySize, BINARY_CHUNK), ...parts,
  ], { type: "model/gltf-binary" });
}
