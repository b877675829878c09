// The clock of a clip: the sound's own, or that of silence where there is none.

const SILENCE_RATE = 8000; // Hz

/** Plays a sound; frame k is shown from k / fps on. Calls `changed` whenever time may have moved. */
export class Player {
  constructor(changed, failed) {
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.changed = changed;
    this.failed = failed;
    for (const event of ["play", "pause", "ended", "seeked", "timeupdate"]) {
      this.audio.addEventListener(event, changed);
    }
    this.audio.addEventListener("error", () => this.#fallBack());
  }

  /** Take a clip of `frames` at `fps`; `sound` is a Blob, or null. The same sound plays on. */
  load(sound, frames, fps) {
    const isSame = sound && sound === this.sound && frames === this.frames;
    Object.assign(this, { sound, frames, fps, seconds: frames / fps });
    if (isSame) return;
    this.silent = !sound;
    this.#open(sound ?? silence(this.seconds));
  }

  get playing() {
    return !this.audio.paused;
  }

  get time() {
    return Math.min(this.audio.currentTime, this.seconds);
  }

  /** The frame that belongs to the time of the sound. */
  get frame() {
    return Math.min(Math.floor(this.time * this.fps), this.frames - 1);
  }

  seek(seconds) {
    this.audio.currentTime = Math.max(0, Math.min(seconds, this.seconds));
    this.changed();
  }

  /** Go to the middle of a frame, where no rounding leads to its neighbours. */
  seekFrame(frame) {
    this.seek((Math.max(0, Math.min(frame, this.frames - 1)) + 0.5) / this.fps);
  }

  async toggle() {
    if (this.playing) return this.audio.pause();
    if (this.time >= this.seconds) this.seek(0);
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name === "NotAllowedError") this.failed("The browser did not allow the sound.");
    }
  }

  #open(blob) {
    URL.revokeObjectURL(this.audio.src);
    this.audio.src = URL.createObjectURL(blob);
  }

  #fallBack() {
    if (this.silent) return;
    this.silent = true;
    this.failed("This browser cannot play the sound; the motion plays without it.");
    this.#open(silence(this.seconds));
  }
}

/** Samples, -1 to 1, as a wav file of 16 bits. */
export function encodeWav(samples, rate) {
  const size = 2 * samples.length;
  const view = new DataView(new ArrayBuffer(44 + size));
  const letters = (at, text) => [...text].forEach((x, i) => view.setUint8(at + i, x.charCodeAt(0)));
  letters(0, "RIFF");
  view.setUint32(4, 36 + size, true);
  letters(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits a sample
  letters(36, "data");
  view.setUint32(40, size, true);
  samples.forEach((value, i) => {
    const clipped = Math.max(-32768, Math.min(Math.round(32768 * value), 32767));
    view.setInt16(44 + 2 * i, clipped, true);
  });
  return new Blob([view], { type: "audio/wav" });
}

function silence(seconds) {
  return encodeWav(new Float32Array(Math.ceil(seconds * SILENCE_RATE)), SILENCE_RATE);
}
