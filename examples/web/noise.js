// The noise that a clip's motion starts from, the same numbers as `dtalk.motion.noise` draws.

const WIDTH = 52; // curves
const GROUP = 16; // numbers that become normal ones together

/** Seeds of a clip's noise (its low 32 bits) and of its blinks, from 16 kHz samples. */
export async function clipSeeds(samples, seed) {
  const data = new Uint8Array(8 + samples.byteLength);
  new DataView(data.buffer).setBigUint64(0, BigInt(seed), true);
  data.set(new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength), 8);
  const digest = new DataView(await crypto.subtle.digest("SHA-256", data));
  return { noise: digest.getUint32(0, true), blinks: digest.getBigUint64(7, true) & 0xffffffffffffffn };
}

/** What torch's `randn(frames, 52)` gives after `manual_seed(seed)`. */
export function standardNormal(seed, frames) {
  const count = frames * WIDTH;
  const draw = twister(seed);
  const uniform = (length) => Float32Array.from({ length }, () => (draw() & 0xffffff) / 2 ** 24);
  const values = uniform(count);
  const whole = count - (count % GROUP);
  for (let start = 0; start < whole; start += GROUP) boxMuller(values, start);
  if (whole < count) { // torch draws the last 16 once more
    values.set(uniform(GROUP), count - GROUP);
    boxMuller(values, count - GROUP);
  }
  return values;
}

/** Uniform numbers to normal ones, in place: eight are radii, the next eight angles. */
function boxMuller(values, start) {
  for (let at = start; at < start + GROUP / 2; at++) {
    const radius = Math.sqrt(-2 * Math.log(1 - values[at]));
    const angle = 2 * Math.PI * values[at + GROUP / 2];
    values[at] = radius * Math.cos(angle);
    values[at + GROUP / 2] = radius * Math.sin(angle);
  }
}

/** MT19937, Matsumoto and Nishimura 1998: a function that gives its next 32 bits. */
export function twister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) {
    const last = state[i - 1] ^ (state[i - 1] >>> 30);
    state[i] = Math.imul(1812433253, last) + i;
  }
  let place = 624;
  const twist = () => {
    for (let i = 0; i < 624; i++) {
      const bits = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
      state[i] = state[(i + 397) % 624] ^ (bits >>> 1) ^ (bits & 1 ? 0x9908b0df : 0);
    }
    place = 0;
  };
  return () => {
    if (place === 624) twist();
    let bits = state[place++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
}
