// Silence and steady sound, as `dtalk.speech.loudness` and `dtalk.speech.voice_activity` have them.

import { LOUD, SPEECH_LEVEL, TENTH, levelled, levels, quantile } from "./levels.js";

const STEADY = 1.5; // times the soft tenths' level: beyond, something stands out
const LONG = 10; // tenths; a shorter sound may be part of a vowel
const QUIET_DB = -20; // below the loud frames
const SHORTEST = 3; // frames; a shorter sound is a click
const HOLD = 4; // frames around speech in which the mouth is free
const FADE = 10; // frames in which it comes to rest

/** Whether nothing stands out: digital silence, a hum, even noise. */
export function isSteady(samples) {
  const count = Math.floor(samples.length / TENTH);
  if (count < LONG) return samples.every((value) => value === 0);
  const found = levels(samples.subarray(0, count * TENTH), TENTH);
  return quantile(found, LOUD) <= STEADY * quantile(found, 1 - LOUD);
}

/** For each frame 1 near speech, 0 far from it, linear between. */
export function presence(samples, frames) {
  const loud = speaking(samples, frames);
  const distance = loud.map((isLoud) => (isLoud ? 0 : Infinity));
  for (let k = 1; k < frames; k++) distance[k] = Math.min(distance[k], distance[k - 1] + 1);
  for (let k = frames - 2; k >= 0; k--) distance[k] = Math.min(distance[k], distance[k + 1] + 1);
  return distance.map((away) => 1 - Math.min(Math.max((away - HOLD) / FADE, 0), 1));
}

/** Whether there is sound in each frame. */
function speaking(samples, frames) {
  if (isSteady(samples)) return new Array(frames).fill(false);
  const values = levelled(samples);
  const bound = (frame) => Math.floor((frame * values.length) / frames);
  const loud = Array.from({ length: frames }, (_, frame) => {
    const start = Math.min(bound(frame), values.length - 1);
    const end = Math.max(bound(frame + 1), start + 1);
    const [level] = levels(values.subarray(start, end), end - start);
    return level > SPEECH_LEVEL * 10 ** (QUIET_DB / 20);
  });
  for (let start = 0; start < frames; start++) {
    if (!loud[start] || loud[start - 1]) continue;
    const end = loud.indexOf(false, start) < 0 ? frames : loud.indexOf(false, start);
    if (end - start < Math.min(SHORTEST, frames)) loud.fill(false, start, end);
  }
  return loud;
}
