// Heads drawn by WebGL 2, lit at their vertices as `dtalk.rendering.lighting` does it.

import { eulerMatrix, interleaved } from "./head.js";

const VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 direction;
layout(location = 2) in vec3 albedo;
layout(location = 3) in vec2 gloss;
layout(location = 4) in float hair;
uniform mat4 to_picture;
uniform vec3 eye, key, key_color, key_wrap, fill, fill_color, sky, ground, rims[2];
uniform float rim_powers[2];
uniform vec4 tint;
centroid out vec3 shade;

vec3 diffuse(vec3 normal, float facing) {
  vec3 light = max((dot(key, normal) + key_wrap) / (1.0 + key_wrap), 0.0) * key_color;
  light += max(dot(fill, normal), 0.0) * fill_color;
  light += mix(ground, sky, 0.5 + 0.5 * normal.y);
  float grazing = pow(1.0 - min(facing, 1.0), 3.0);
  for (int i = 0; i < 2; i++) light += rim_powers[i] * max(dot(rims[i], normal), 0.0) * grazing;
  return light;
}

void main() {
  vec3 view = normalize(eye - position);
  vec3 normal = direction;
  float facing = dot(normal, view);
  if (hair > 0.5 && facing < 0.0) normal = -normal;
  float soft = pow(max(dot(normalize(view + key), normal), 0.0), 20.0);
  vec3 linear = albedo * diffuse(normal, abs(facing)) + gloss.x * soft + gloss.y * soft * soft;
  shade = mix(pow(clamp(linear, 0.0, 1.0), vec3(1.0 / ${"GAMMA"})), tint.rgb, tint.a);
  gl_Position = to_picture * vec4(position, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision mediump float;
centroid in vec3 shade;
out vec4 color;
void main() { color = vec4(shade, 1.0); }`;

/** Draws one head in several poses next to each other on a canvas; throws without WebGL 2. */
export class Renderer {
  constructor(canvas, head) {
    this.canvas = canvas;
    this.head = head;
    this.wireframe = false;
    const gl = canvas.getContext("webgl2", { antialias: true });
    if (!gl) throw new Error("this browser has no WebGL 2");
    this.gl = gl;
    this.#makeProgram();
    this.#makeBuffers();
    gl.enable(gl.DEPTH_TEST);
  }

  /** Draw poses `{weights, rotation}`, each in a cell of `columns`, seen by an `Orbit`. */
  draw(poses, columns, orbit) {
    const { gl, canvas } = this;
    const rows = Math.ceil(poses.length / columns);
    const [width, height] = [canvas.width / columns, canvas.height / rows].map(Math.floor);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    this.#aim(orbit, width / height);
    poses.forEach(({ weights, rotation }, index) => {
      const row = rows - 1 - Math.floor(index / columns);
      gl.viewport((index % columns) * width, row * height, width, height);
      this.head.deform(weights, rotation);
      this.#send(this.positionBuffer, this.head.positions);
      this.#send(this.normalBuffer, this.head.normals);
      if (this.wireframe) this.#drawWires();
      else this.#drawTriangles();
    });
  }

  #makeProgram() {
    const { gl } = this;
    const { light } = this.head.settings;
    this.program = gl.createProgram();
    const vertex = VERTEX.replace("GAMMA", light.gamma.toFixed(3));
    for (const [type, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS)) {
      throw new Error(`WebGL: ${gl.getProgramInfoLog(this.program)}`);
    }
    gl.useProgram(this.program);
    for (const name of ["key_color", "key_wrap", "fill_color", "sky", "ground"]) {
      gl.uniform3fv(this.#place(name), light[name]);
    }
    gl.uniform1fv(this.#place("rim_powers"), light.rim_powers);
  }

  #makeBuffers() {
    const { gl, head } = this;
    this.positionBuffer = this.#attribute(0, 3, head.positions, gl.DYNAMIC_DRAW);
    this.normalBuffer = this.#attribute(1, 3, head.normals, gl.DYNAMIC_DRAW);
    this.#attribute(2, 3, withMidpoints(head, head.colors, 3));
    this.#attribute(3, 2, withMidpoints(head, head.gloss, 2));
    this.#attribute(4, 1, withMidpoints(head, head.hair, 1));
    this.triangles = this.#indices(interleaved(head.drawn));
    this.closed = 3 * head.settings.closed;
  }

  #attribute(location, size, values, usage = this.gl.STATIC_DRAW) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, values, usage);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, gl.FLOAT, false, 0, 0);
    return buffer;
  }

  #indices(values) {
    const { gl } = this;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values, gl.STATIC_DRAW);
    return { buffer, count: values.length };
  }

  #send(buffer, values) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferSubData(this.gl.ARRAY_BUFFER, 0, values);
  }

  /** Set the camera, and the lamps, which follow it around the head. */
  #aim(orbit, aspect) {
    const { gl } = this;
    const { light } = this.head.settings;
    const turn = eulerMatrix(orbit.yaw, 0, 0);
    gl.uniformMatrix4fv(this.#place("to_picture"), true, orbit.projection(aspect));
    gl.uniform3fv(this.#place("eye"), orbit.position());
    gl.uniform3fv(this.#place("key"), rotated(turn, light.key));
    gl.uniform3fv(this.#place("fill"), rotated(turn, light.fill));
    gl.uniform3fv(this.#place("rims"), light.rims.flatMap((rim) => rotated(turn, rim)));
  }

  /** Closed surfaces without their backs, then the hairs, which are seen from both sides. */
  #drawTriangles(tint = [0, 0, 0, 0]) {
    const { gl, triangles, closed } = this;
    gl.uniform4fv(this.#place("tint"), tint);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, triangles.buffer);
    gl.enable(gl.CULL_FACE);
    gl.drawElements(gl.TRIANGLES, closed, gl.UNSIGNED_INT, 0);
    gl.disable(gl.CULL_FACE);
    gl.drawElements(gl.TRIANGLES, triangles.count - closed, gl.UNSIGNED_INT, 4 * closed);
  }

  /** Edges, before surfaces a little further away, which hide the edges behind them. */
  #drawWires() {
    const { gl } = this;
    const { wire, paper } = this.head.settings;
    this.wires ??= this.#indices(edges(interleaved(this.head.drawn)));
    gl.enable(gl.POLYGON_OFFSET_FILL);
    gl.polygonOffset(1, 1);
    this.#drawTriangles(paper);
    gl.disable(gl.POLYGON_OFFSET_FILL);
    gl.uniform4fv(this.#place("tint"), wire);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.wires.buffer);
    gl.drawElements(gl.LINES, this.wires.count, gl.UNSIGNED_INT, 0);
  }

  #place(name) {
    return this.gl.getUniformLocation(this.program, name);
  }
}

function rotated(m, [x, y, z]) {
  return [0, 3, 6].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z);
}

/** Values [V, size] of vertices, then the means of both ends of every split edge. */
function withMidpoints({ split, splits, count }, values, size) {
  const all = new Float32Array(size * (count + splits));
  all.set(values);
  for (let i = 0; i < splits * size; i++) {
    const [edge, axis] = [Math.floor(i / size), i % size];
    const [a, b] = [split[edge], split[splits + edge]];
    all[size * count + i] = (values[size * a + axis] + values[size * b + axis]) / 2;
  }
  return all;
}

/** The edges of triangles, each once. */
function edges(triangles) {
  const seen = new Set();
  for (let i = 0; i < triangles.length; i++) {
    const next = i % 3 === 2 ? i - 2 : i + 1;
    const [a, b] = [triangles[i], triangles[next]].sort((x, y) => x - y);
    seen.add(a * 2 ** 26 + b);
  }
  return Uint32Array.from([...seen].flatMap((pair) => [Math.floor(pair / 2 ** 26), pair % 2 ** 26]));
}
