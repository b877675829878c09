// The page: a sound in, a speaking head and its curves out.

import { toCsv } from "./csv.js";
import { withAnimation } from "./glb.js";
import { SAMPLE_RATE, readSound, startRecording } from "./sound.js";
import { Talker } from "./talker.js";
import { Head } from "./viewer/head.js";
import { encodeWav } from "./viewer/player.js";
import { unpack } from "./viewer/tensors.js";
import { Viewer } from "./viewer/viewer.js";

const element = (id) => document.getElementById(id);
const fetched = async (name) => {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${answer.statusText}`);
  return answer;
};

class Page {
  static async start() {
    if (!crypto.subtle) throw new Error("open it at http://localhost or by https");
    const about = await (await fetched("model.json")).json();
    const [talker, head] = await Promise.all([
      Talker.load(about),
      fetched("head.bin").then((answer) => answer.arrayBuffer()).then(unpack),
    ]);
    return new Page(talker, new Viewer(element("viewer"), new Head(head)));
  }

  constructor(talker, viewer) {
    Object.assign(this, { talker, viewer });
    const { about } = talker;
    for (const kind of ["emotion", "identity"]) {
      const labels = kind === "emotion" ? about.emotions : about.identities;
      element(kind).append(...labels.map((label) => new Option(label)));
    }
    element("strength").value = about.emotion_strength;
    for (const id of ["emotion", "strength", "identity", "seed"]) {
      element(id).addEventListener("change", () => this.animate());
    }
    element("file").addEventListener("change", ({ target }) => this.#open(target.files[0]));
    element("record").addEventListener("click", () => this.#record());
    element("csv").addEventListener("click", () => this.#saveCsv());
    element("glb").addEventListener("click", () => this.#saveGlb());
    say("Choose a sound, or record one.");
  }

  async #open(file) {
    if (!file) return;
    await attempt(`Cannot read ${file.name}`, async () => {
      await this.#take(await readSound(file), file, file.name);
    });
  }

  async #record() {
    const button = element("record");
    if (this.stop) {
      const stop = this.stop;
      this.stop = null;
      await attempt("Cannot use the recording", async () => {
        const samples = await readSound(await stop());
        await this.#take(samples, encodeWav(samples, SAMPLE_RATE), "recording.wav");
      });
    } else {
      await attempt("Cannot record", async () => (this.stop = await startRecording()));
    }
    button.setAttribute("aria-pressed", String(Boolean(this.stop)));
    button.textContent = this.stop ? "Stop" : "Record";
    if (this.stop) say("Recording.");
  }

  #take(samples, sound, name) {
    Object.assign(this, { samples, sound, name });
    return this.animate();
  }

  /** Curves for the sound and the settings, shown; one call after another. */
  animate() {
    this.queue = (this.queue ?? Promise.resolve()).then(() => this.#animateNow());
    return this.queue;
  }

  async #animateNow() {
    if (!this.samples) return;
    say("Animating.");
    await attempt("Cannot animate", async () => {
      const started = performance.now();
      const made = await this.talker.animate(this.samples, {
        identity: element("identity").value,
        emotion: element("emotion").value,
        strength: element("strength").valueAsNumber,
        seed: element("seed").valueAsNumber,
      });
      this.made = made;
      const { fps, names } = this.talker.about;
      this.viewer.show([{ name: "", fps, curves: made.curves }], this.sound);
      const frames = made.curves.length / names.length;
      const seconds = ((performance.now() - started) / 1000).toFixed(2);
      say(`${this.name}: ${frames} frames in ${seconds} s, emotion ${made.emotion}, identity ${made.identity}`);
      for (const id of ["csv", "glb"]) element(id).disabled = false;
    });
  }

  #saveCsv() {
    const { names, fps, gaze } = this.talker.about;
    this.#download(new Blob([toCsv(this.made.curves, names, fps, gaze)], { type: "text/csv" }), "csv");
  }

  async #saveGlb() {
    const { names, fps, name: model } = this.talker.about;
    const { curves, identity, emotion } = this.made;
    const about = { audio: this.name, identity, emotion, model };
    await attempt("Cannot make the glb", async () => {
      const head = await (await fetched("head.glb")).arrayBuffer();
      this.#download(withAnimation(head, curves, names.length, fps, about), "glb");
    });
  }

  #download(blob, suffix) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${this.name.replace(/\.[^.]*$/, "")}.${suffix}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser still reads it
  }
}

function say(text) {
  element("status").textContent = text;
}

async function attempt(what, action) {
  try {
    await action();
  } catch (error) {
    say(`${what}: ${error.message}`);
  }
}

await attempt("This page does not work here", async () => {
  document.body.page = await Page.start(); // for scripts
});
