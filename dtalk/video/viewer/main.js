// Starts the viewer of a file that holds everything: a head, motions, their sound.

import { Head } from "./head.js";
import { decodeBase64, unpack } from "./tensors.js";
import { Viewer } from "./viewer.js";

const content = (id) => decodeBase64(document.getElementById(id).textContent);

async function start(root) {
  const head = new Head(await unpack(content("head")));
  const { arrays, metadata } = await unpack(content("motions"));
  const motions = metadata.names.map((name, index) => ({
    name,
    fps: metadata.fps,
    curves: arrays[`curves${index}`],
    rotation: arrays[`rotation${index}`],
  }));
  const sound = content("sound");
  const viewer = new Viewer(root, head);
  viewer.show(motions, sound.length ? new Blob([sound], { type: "audio/mp4" }) : null);
  root.viewer = viewer; // for scripts
}

const root = document.getElementById("viewer");
start(root).catch((error) => {
  root.textContent = `This page needs a browser of 2023 or newer (${error.message}).`;
});
