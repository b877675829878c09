// Compare a glb in three.js with Head.deform: shape names and vertices.
//     npm install three && node examples/gltf/three.mjs FOLDER
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const load = (path) => import(pathToFileURL(`${process.cwd()}/node_modules/three/${path}`));
globalThis.self = globalThis; // what the loader expects of a browser
const THREE = await load("build/three.module.js");
const { GLTFLoader } = await load("examples/jsm/loaders/GLTFLoader.js");

const folder = process.argv[2];
const data = readFileSync(`${folder}/talk.glb`);
const times = readFileSync(`${folder}/times.txt`, "utf8").split(",").map(Number);
const bytes = readFileSync(`${folder}/expected.bin`);
const expected = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
const gltf = await new GLTFLoader().parseAsync(buffer, "");
let face;
gltf.scene.traverse((thing) => { if (thing.morphTargetDictionary) face = thing; });
const names = Object.keys(face.morphTargetDictionary);
const shapes = names.filter((name) => !name.startsWith("corrective"));
console.log(`three.js ${THREE.REVISION}: ${shapes.length} shapes, ${shapes[0]} ... `
  + `${shapes.at(-1)}, ${names.length - shapes.length} correctives`);

const mixer = new THREE.AnimationMixer(gltf.scene);
mixer.clipAction(gltf.animations[0]).play();
const count = face.geometry.attributes.position.count;
const place = new THREE.Vector3();
times.forEach((time, moment) => {
  mixer.setTime(time);
  gltf.scene.updateMatrixWorld(true);
  let largest = 0;
  for (let vertex = 0; vertex < count; vertex++) {
    face.getVertexPosition(vertex, place).applyMatrix4(face.matrixWorld);
    const start = 3 * (moment * count + vertex);
    largest = Math.max(largest, place.distanceTo(new THREE.Vector3().fromArray(expected, start)));
  }
  console.log(`${time.toFixed(4)} s: largest difference ${(1000 * largest).toFixed(5)} mm`);
});
