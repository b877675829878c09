// Sound to 16 kHz mono samples: files of any kind that the browser plays, and the microphone.

export const SAMPLE_RATE = 16000; // Hz, what the model hears
const ROUNDING = 0.01; // of a 16-bit step, by which a float may miss a whole one

/** Samples of a file, Float32Array; several channels become their mean. */
export async function readSound(blob) {
  const context = new OfflineAudioContext(1, 1, SAMPLE_RATE); // decodes to its own rate
  const buffer = await context.decodeAudioData(await blob.arrayBuffer());
  const samples = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const values = asLibsndfileReads(buffer.getChannelData(channel));
    for (let i = 0; i < samples.length; i++) samples[i] += values[i] / buffer.numberOfChannels;
  }
  return samples;
}

/**
 * Samples of 16 bits as multiples of 1/32768. Some of Chromium's decoders divide positive ones by
 * 32767; the noise that a motion starts from depends on the last bit of every sample. Others stay.
 */
function asLibsndfileReads(samples) {
  for (const positive of [32768, 32767]) {
    const scaled = samples.map((value) => value * (value < 0 ? 32768 : positive));
    const isWhole = scaled.every((value) => Math.abs(value - Math.round(value)) < ROUNDING);
    if (isWhole) return scaled.map((value) => Math.round(value) / 32768);
  }
  return samples;
}

/** Record the microphone: a function that stops and gives the sound as a Blob. */
export async function startRecording() {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const recorder = new MediaRecorder(stream);
  const parts = [];
  recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
  recorder.start();
  return () => new Promise((done) => {
    recorder.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      done(new Blob(parts, { type: recorder.mimeType }));
    });
    recorder.stop();
  });
}
