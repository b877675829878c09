// Blinks of a clip, as `dtalk.motion.idle` samples them with numpy's random numbers.

const PAUSE = [1.2, 5.5]; // seconds between blinks, least and most
const [CLOSING, SHUT, OPENING] = [0.08, 0.04, 0.18]; // seconds
const [LOW_32, LOW_64, LOW_128] = [32n, 64n, 128n].map((bits) => 2n ** bits - 1n);
const PCG_MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

/** How far the lids are shut in each frame, 0 to 1; `seed` is a BigInt. */
export function blinks(frames, fps, seed) {
  const random = generator(seed);
  const pause = () => PAUSE[0] + (PAUSE[1] - PAUSE[0]) * random();
  const shut = new Float32Array(frames);
  for (let start = pause() / 2; start < (frames - 0.5) / fps; start += pause()) {
    for (let k = 0; k < frames; k++) {
      const since = (k + 0.5) / fps - start;
      const opening = (CLOSING + SHUT + OPENING - since) / OPENING;
      shut[k] = Math.max(shut[k], smooth(Math.min(since / CLOSING, opening)));
    }
  }
  return shut;
}

function smooth(share) {
  const inside = Math.min(Math.max(share, 0), 1);
  return inside * inside * (3 - 2 * inside);
}

/** numpy's `default_rng(seed).random`: PCG64, O'Neill 2014; the seed has at most 128 bits. */
export function generator(seed) {
  const words = seedSequence(seed);
  let state = 0n;
  const increment = (((words[2] << 64n) | words[3]) << 1n | 1n) & LOW_128;
  const step = () => (state = (state * PCG_MULTIPLIER + increment) & LOW_128);
  step();
  state += (words[0] << 64n) | words[1];
  step();
  return () => {
    step();
    const folded = (state >> 64n) ^ (state & LOW_64);
    const turn = state >> 122n;
    const drawn = ((folded >> turn) | (folded << (64n - turn))) & LOW_64;
    return Number(drawn >> 11n) / 2 ** 53;
  };
}

/** numpy's `SeedSequence(seed).generate_state(4, uint64)`. */
function seedSequence(seed) {
  const entropy = [0n, 32n, 64n, 96n].map((shift) => Number((seed >> shift) & LOW_32));
  const mixed = hasher(0x43b0d7e5, 0x931e8875);
  const pool = entropy.map(mixed);
  for (let source = 0; source < 4; source++) {
    for (let target = 0; target < 4; target++) {
      if (source !== target) pool[target] = mix(pool[target], mixed(pool[source]));
    }
  }
  const drawn = hasher(0x8b51f9dd, 0x58f38ded);
  const words = Array.from({ length: 8 }, (_, i) => BigInt(drawn(pool[i % 4])));
  return [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
}

function hasher(start, multiplier) {
  let constant = start;
  return (value) => {
    const first = value ^ constant;
    constant = Math.imul(constant, multiplier);
    const second = Math.imul(first, constant);
    return (second ^ (second >>> 16)) >>> 0;
  };
}

function mix(x, y) {
  const mixed = Math.imul(0xca01f9dd, x) - Math.imul(0x4973f715, y) | 0;
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
