// Rhubarb Lip Sync in WebAssembly: mouth shapes A to H and X by recognised phones, without text.
import { Rhubarb } from "rhubarb-lip-sync-wasm";
import { run } from "./clips.mjs";

await run(async (samples) => {
  const { mouthCues } = await Rhubarb.getLipSync(samples);
  return mouthCues.map(({ start, end, value }) => [start, end, { [value]: 1 }]);
});
