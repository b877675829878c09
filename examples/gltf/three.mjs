// Compare a glb in three.js with what expected.py wrote: shape names and vertices.
//     npm install three && node examples/gltf/three.mjs FOLDER
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const load = (path) => import(pathToFileURL(`${process.cwd()}/node_modules/three/${path}`));
globalThis.self = globalThis; // what the loader expects of a browser
const THREE = await load("build/three.module.js");
const { GLTFLoader } = await load("examples/jsm/loaders/GLTFLoader.js");
const { MeshoptDecoder } = await load("examples/jsm/libs/meshopt_decoder.module.js");

const folder = process.argv[2];
const data = readFileSync(`${folder}/talk.glb`);
const times = readFileSync(`${folder}/times.txt`, "utf8").split(",").map(Number);
const bytes = readFileSync(`${folder}/expected.bin`);
const expected = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);

const buffer = data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
const gltf = await new GLTFLoader()
  .setMeshoptDecoder(MeshoptDecoder)
  // No pictures outside a browser, of Basis Universal or others.
  .register(() => ({ name: "KHR_texture_basisu", loadTexture: async () => new THREE.Texture() }))
  .parseAsync(buffer, "");
const place = (thing) => gltf.parser.associations.get(thing).nodes;
const faces = [];
gltf.scene.traverse((thing) => { if (thing.morphTargetDictionary) faces.push(thing); });
faces.sort((one, other) => place(one) - place(other));
const names = Object.keys(faces[0].morphTargetDictionary);
const shapes = names.filter((name) => !name.startsWith("corrective"));
console.log(`three.js ${THREE.REVISION}: ${shapes.length} shapes, ${shapes[0]} ... `
  + `${shapes.at(-1)}, ${names.length - shapes.length} correctives, ${faces.length} meshes`);

const mixer = new THREE.AnimationMixer(gltf.scene);
mixer.clipAction(gltf.animations[0]).play();
const point = new THREE.Vector3();
let start = 0;
for (const time of times) {
  mixer.setTime(time);
  gltf.scene.updateMatrixWorld(true);
  let largest = 0;
  for (const face of faces) {
    for (let vertex = 0; vertex < face.geometry.attributes.position.count; vertex++, start += 3) {
      face.getVertexPosition(vertex, point).applyMatrix4(face.matrixWorld);
      largest = Math.max(largest, point.distanceTo(new THREE.Vector3().fromArray(expected, start)));
    }
  }
  console.log(`${time.toFixed(4)} s: largest difference ${(1000 * largest).toFixed(5)} mm`);
}
if (start !== expected.length) throw new Error(`${start} numbers, expected ${expected.length}`);
