// Every clip of a work folder through a peer: as clips.py, for peers in JavaScript.
import fs from "node:fs";
import path from "node:path";

const HEADER = 44; // bytes of the wavs that peers.py writes: 16 kHz, mono, 16 bit

/** `recognise(buffer of 16-bit samples)` for all clips of argv[2], answers to argv[3]. */
export async function run(recognise) {
  const [folder, answers] = process.argv.slice(2);
  const clips = JSON.parse(fs.readFileSync(path.join(folder, "clips.json"), "utf8"));
  const answer = (line) => fs.appendFileSync(answers, JSON.stringify(line) + "\n");
  fs.rmSync(answers, { force: true });
  for (const { clip, wav } of clips) {
    try {
      const samples = fs.readFileSync(path.join(folder, wav)).subarray(HEADER);
      answer({ clip, cues: await recognise(samples) });
    } catch (error) {
      answer({ clip, error: String(error) });
    }
  }
}
