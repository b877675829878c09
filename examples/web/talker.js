// The model: levelled sound, noise and labels in, 52 curves out, as `dtalk.engine.talker` does it.

import * as ort from "./onnxruntime/ort.wasm.bundle.min.mjs";
import { blinks } from "./blinks.js";
import { levelled } from "./levels.js";
import { isSteady, presence } from "./loudness.js";
import { clipSeeds, standardNormal } from "./noise.js";
import { SAMPLE_RATE } from "./sound.js";

const NEUTRAL = "neutral";

ort.env.wasm.wasmPaths = {
  wasm: new URL("./onnxruntime/ort-wasm-simd-threaded.wasm", import.meta.url).href,
};
ort.env.wasm.numThreads = 1; // more need headers that static servers do not send

/** A model and its description, `model.json`. */
export class Talker {
  static async load(about) {
    const session = await ort.InferenceSession.create(about.graph, {
      executionProviders: ["wasm"],
      externalData: about.external.map((name) => ({ path: name, data: name })),
    });
    return Object.assign(new Talker(), { session, about });
  }

  /**
   * Curves [T, 52] of 16 kHz samples, and who and how; empty labels are found in the sound. An
   * emotion that is found but not probable enough is neutral.
   */
  async animate(samples, choice = {}) {
    const { emotions, emotion_threshold: threshold } = this.about;
    const { doubtful, ...made } = await this.#sample(samples, choice, threshold);
    if (!doubtful || !emotions.includes(NEUTRAL)) return made;
    return this.#sample(samples, { ...choice, emotion: NEUTRAL });
  }

  async #sample(samples, { identity = "", emotion = "", strength = null, seed = 0 }, threshold = 0) {
    const { about } = this;
    const frames = Math.max(1, roundHalfEven((samples.length / SAMPLE_RATE) * about.fps));
    const seeds = await clipSeeds(samples, seed);
    const noise = standardNormal(seeds.noise, frames);
    const found = await this.session.run({
      waveform: tensor(levelled(samples), [samples.length]),
      noise: tensor(noise, [frames, about.names.length]),
      ...this.#labels(identity, emotion, strength ?? about.emotion_strength),
      temperature: tensor([1], [1]),
      heard: tensor(Array(2 * about.features).fill(0), [2 * about.features]),
    });
    const curves = Float32Array.from(found.coefficients.data);
    if (about.close_in_silence || isSteady(samples)) this.#closeInSilence(curves, samples, frames);
    if (about.blinks) this.#blink(curves, seeds.blinks, frames);
    const how = emotion || labelOf(about.emotions, found.found_emotion.data);
    const probability = found.emotion_probability.data[about.emotions.indexOf(how)];
    return {
      curves,
      identity: identity || labelOf(about.identities, found.found_identity.data),
      emotion: how,
      doubtful: !emotion && how !== NEUTRAL && probability < threshold, // never where it is unknown
    };
  }

  /** Weights of the labels, all 0 where they are to be found; a named emotion counts from neutral. */
  #labels(identity, emotion, strength) {
    const { identities, emotions } = this.about;
    const isPlain = !emotion || emotion === NEUTRAL || strength === 1;
    const names = isPlain ? [emotion] : [emotion, NEUTRAL];
    const shares = names.length > 1 ? [strength, 1 - strength] : [1];
    const rows = names.flatMap((name) => oneHot(emotions, name));
    return {
      identity: tensor(oneHot(identities, identity), [identities.length + 1]),
      emotion: tensor(rows, [names.length, emotions.length + 1]),
      share: tensor(shares, [names.length]),
    };
  }

  /** What parts the lips fades out where nobody speaks. */
  #closeInSilence(curves, samples, frames) {
    const { names, parting } = this.about;
    presence(samples, frames).forEach((share, frame) => {
      for (const channel of parting) curves[frame * names.length + channel] *= share;
    });
  }

  /** The lids are open but for blinks. */
  #blink(curves, seed, frames) {
    const { names, lids, open_lids, fps } = this.about;
    blinks(frames, fps, seed).forEach((shut, frame) => {
      for (const channel of lids) {
        const at = frame * names.length + channel;
        curves[at] = Math.max(Math.min(curves[at], open_lids), shut);
      }
    });
  }
}

function tensor(values, shape) {
  return new ort.Tensor("float32", Float32Array.from(values), shape);
}

function oneHot(labels, name) {
  return [...labels, null].map((label) => (label === name ? 1 : 0));
}

function labelOf(labels, weights) {
  return labels[weights.indexOf(Math.max(...weights))] ?? "";
}

/** To the nearest whole number, from the middle to the even one. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  const isEven = below % 2 === 0;
  return value - below === 0.5 ? below + (isEven ? 0 : 1) : Math.round(value);
}
