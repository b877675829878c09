// Rhubarb Lip Sync in WebAssembly: mouth shapes A to H and X by recognised phones, without text.
import { Rhubarb } from "rhubarb-lip-sync-wasm";
import { run } from "./clips.mjs";

const RENEW = 50; // clips: an instance keeps about 5 MB of each, and may have 2 GB

let heard = 0;
await run(async (samples) => {
  if (heard++ % RENEW === 0) Rhubarb.wasmModule = null; // the next call makes another
  const { mouthCues } = await Rhubarb.getLipSync(samples);
  return mouthCues.map(({ start, end, value }) => [start, end, { [value]: 1 }]);
});
