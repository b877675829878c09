// The level of speech from moment to moment, and the gain that evens it, as `dtalk.speech.levels`.

export const SPEECH_LEVEL = 0.1; // of the loud frames after levelling
export const LOUD = 0.95; // quantile of the frames' levels
export const TENTH = 1600; // samples, 100 ms
const MAXIMUM_GAIN = 30;
const FRAME = 400; // samples, 25 ms
const PER_TENTH = TENTH / FRAME;
const OFFSET = 0.01; // of the loud frames' level: a smaller offset (DC) is not heard
const WINDOW = 40; // tenths
const SHARE = 0.2; // of a window's tenths that are speech, where it holds speech
const STANDING = 3; // times the softest frames' level
const UNEVEN = 10 ** (3 / 20); // how far speech goes up and down by itself
const BURST = 2; // times the loud frames' level: what is not raised with what is soft around it
const SMOOTHING = 5; // tenths
const VOICED = 0.5; // autocorrelation at the period of the voice
const DECIMATION = 8; // 16 to 2 kHz
const PERIODS = [4, 26]; // samples at 2 kHz, of which the inner ones count: 400 to 80 Hz
const SILENT = 1e-12; // energy of a tenth at 2 kHz, which rounding may leave

/** The samples at a standard loudness, without their offset. */
export function levelled(samples) {
  const frames = levels(samples, FRAME);
  const loud = quantile(frames, LOUD);
  const mean = samples.reduce((sum, value) => sum + value, 0) / samples.length;
  const offset = Math.abs(mean) > OFFSET * loud ? Math.fround(mean) : 0;
  const gains = localLoudness(frames, loud, samples).map(gainOf);
  return samples.map((value, i) => Math.fround(value - offset) * between(gains, i / TENTH - 0.5));
}

function gainOf(loud) {
  return Math.fround(SPEECH_LEVEL / Math.max(loud, SPEECH_LEVEL / MAXIMUM_GAIN));
}

/** RMS about the mean of parts of so many samples; the last is filled with the last sample. */
export function levels(samples, size) {
  const found = [];
  for (let start = 0; start < samples.length; start += size) {
    const at = (i) => samples[Math.min(start + i, samples.length - 1)];
    let [sum, energy] = [0, 0];
    for (let i = 0; i < size; i++) sum += at(i);
    for (let i = 0; i < size; i++) energy += (at(i) - sum / size) ** 2;
    found.push(Math.sqrt(energy / size));
  }
  return found;
}

export function quantile(values, share) {
  const sorted = Float64Array.from(values).sort();
  return between(sorted, share * (sorted.length - 1));
}

/** The value at a place between two entries; the first or the last one beyond. */
function between(values, place) {
  const inside = Math.min(Math.max(place, 0), values.length - 1);
  const below = Math.floor(inside);
  const above = Math.min(below + 1, values.length - 1);
  return values[below] + (inside - below) * (values[above] - values[below]);
}

/** Level of the loud frames where each tenth of a second is; a single one if all are alike. */
function localLoudness(frames, loud, samples) {
  const count = Math.floor(frames.length / PER_TENTH);
  if (count <= WINDOW) return [loud];
  const windows = range(count - WINDOW + 1).map((first) => (
    frames.slice(first * PER_TENTH, (first + WINDOW) * PER_TENTH)
  ));
  const loudest = windows.map((window) => quantile(window, LOUD));
  if (loudest.every((level) => level <= UNEVEN * loud && level * UNEVEN >= loud)) return [loud];
  const tenths = range(count).map((k) => Math.hypot(...frames.slice(k * PER_TENTH, (k + 1) * PER_TENTH)) / 2);
  const voiced = tenths.map((_, k) => isVoiced(samples.subarray(k * TENTH, (k + 1) * TENTH)));
  const held = windows.map((window, first) => {
    const softest = quantile(window, 1 - LOUD);
    const speaks = (k) => voiced[k] && tenths[k] > STANDING * softest;
    return range(WINDOW).filter((k) => speaks(first + k)).length / WINDOW >= SHARE;
  });
  const speech = lowest(loudest.map((level, w) => (held[w] ? level : Infinity)), count);
  if (!speech.some(Number.isFinite)) return [loud];
  const everything = lowest(loudest, count);
  const wanted = filled(speech).map((level, k) => {
    const about = Math.max(level, everything[k]); // loud music beside soft speech is not raised
    return Math.min(Math.max(loud, about / UNEVEN), about * UNEVEN);
  });
  return smooth(wanted).map((level, k) => {
    const burst = Math.max(...[k - 1, k, k + 1].map((near) => tenths[near] ?? 0));
    return Math.max(level, Math.min(loud, burst / BURST));
  });
}

/** The lowest of a measure among the windows that hold each tenth. */
function lowest(windows, count) {
  return range(count).map((k) => Math.min(...windows.slice(Math.max(0, k - WINDOW + 1), k + 1)));
}

/** Levels with what lies between finite ones, evenly in decibels. */
function filled(found) {
  const known = range(found.length).filter((k) => Number.isFinite(found[k]));
  let next = 0;
  return found.map((_, k) => {
    while (next < known.length && known[next] < k) next++;
    const [left, right] = [known[next - 1] ?? known[next], known[next] ?? known[next - 1]];
    const share = right > left ? (k - left) / (right - left) : 0;
    return Math.exp(Math.log(found[left]) + share * (Math.log(found[right]) - Math.log(found[left])));
  });
}

/** Running geometric mean. */
function smooth(found) {
  const half = (SMOOTHING - 1) / 2;
  const at = (k) => Math.log(found[Math.min(Math.max(k, 0), found.length - 1)]);
  return found.map((_, k) => Math.exp(range(SMOOTHING).reduce((sum, j) => sum + at(k + j - half), 0) / SMOOTHING));
}

/** Whether a whole tenth of a second is periodic at 80 to 400 Hz. */
export function isVoiced(tenth) {
  if (tenth.length < TENTH) return false;
  const slow = range(TENTH / DECIMATION).map((k) => {
    let sum = 0;
    for (let i = 0; i < DECIMATION; i++) sum += tenth[k * DECIMATION + i];
    return sum / DECIMATION;
  });
  const mean = slow.reduce((sum, value) => sum + value, 0) / slow.length;
  const correlation = (lag) => {
    let sum = 0;
    for (let i = lag; i < slow.length; i++) sum += (slow[i] - mean) * (slow[i - lag] - mean);
    return sum;
  };
  const whole = Math.max(correlation(0), SILENT);
  const found = range(PERIODS[1] - PERIODS[0] + 1).map((k) => {
    const lag = PERIODS[0] + k;
    return correlation(lag) / whole / (1 - lag / slow.length);
  });
  return found.some((value, k) => (
    value > VOICED && value >= found[k - 1] && value >= found[k + 1]
  ));
}

function range(count) {
  return Array.from({ length: count }, (_, k) => k);
}
