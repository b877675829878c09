// HeadAudio: Oculus visemes by the nearest Gaussian of MFCCs, as its audio worklet finds them.
//
// The package's own player would fade between them, but never shows "aa": it takes viseme 0 for
// none. So its recogniser is used, and the fading is peers.py's.
import fs from "node:fs";
import { fileURLToPath } from "node:url";
import { Processor } from "@met4citizen/headaudio/modules/processor.mjs";
import { Training } from "@met4citizen/headaudio/modules/training.mjs";
import { run } from "./clips.mjs";

const RATE = 16000;
const LATENCY = 0.05; // s, by the package's README; live users delay the sound by it
// In its order, also by the README.
const NAMES = [
  ...["aa", "E", "I", "O", "U", "PP", "SS", "TH", "DD", "FF"],
  ...["kk", "nn", "RR", "CH", "sil"],
];
const SILENCE = NAMES.indexOf("sil");

const file = import.meta.resolve("@met4citizen/headaudio/dist/model-en-mixed.bin");
const bytes = fs.readFileSync(fileURLToPath(file)).toString("base64");
const { model } = await new Training().loadModel(`data:application/octet-stream;base64,${bytes}`);

function recognise(samples) {
  const changes = [{ time: 0, viseme: SILENCE }];
  const listener = { port: { postMessage } };
  const processor = new Processor({ sampleRate: RATE }, listener);

  function postMessage({ event, viseme }) {
    const now = event === "ended" ? SILENCE : event === "viseme" ? viseme : null;
    if (now === null || now === changes.at(-1).viseme) return;
    changes.push({ time: Math.max(0, processor.sampleCount / RATE - LATENCY), viseme: now });
  }

  processor._onmessage({ data: { event: "model", model } });
  const waveform = new Float32Array(samples.length / 2 + LATENCY * RATE);
  for (let i = 0; 2 * i < samples.length; i++) waveform[i] = samples.readInt16LE(2 * i) / 32768;
  for (let i = 0; i < waveform.length; i += 128) processor.process(waveform.subarray(i, i + 128));

  const end = samples.length / 2 / RATE;
  return changes.map(({ time, viseme }, i) => [
    time,
    changes[i + 1]?.time ?? Math.max(time, end),
    { [NAMES[viseme]]: 1 },
  ]);
}

await run(recognise);
