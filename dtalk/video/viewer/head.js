// A head that 52 coefficients deform, as `dtalk.heads` has it: metres, y up, looking along +z.

const SIDES = ["Left", "Right"];

/** The head of `dtalk.video.web_head`; `deform` fills `positions` and `normals`. */
export class Head {
  constructor({ arrays, metadata }) {
    Object.assign(this, arrays);
    this.settings = metadata;
    this.count = this.vertices.length / 3;
    this.splits = this.split.length / 2;
    // Where the corners of the triangles begin in `positions`, triangle by triangle.
    this.corners = interleaved(this.faces).map((vertex) => 3 * vertex);
    this.positions = new Float32Array(3 * (this.count + this.splits));
    this.normals = new Float32Array(3 * (this.count + this.splits));
  }

  /** Pose the head: weights [52], and yaw, pitch and roll in radians, [3], or null. */
  deform(weights, rotation) {
    this.positions.set(this.vertices);
    this.#displace(weights);
    SIDES.forEach((side, index) => {
      if (`eye${index}_vertices` in this) this.#lookAround(weights, side, index);
    });
    if (rotation && rotation.some((angle) => angle)) this.#turn(eulerMatrix(...rotation));
    this.#findNormals();
    this.#roundOutlines();
  }

  #displace(weights) {
    const { positions, shape_start, shape_vertex, shape_delta } = this;
    const total = shape_vertex.length;
    for (let k = 0; k < weights.length; k++) {
      const weight = weights[k];
      if (!weight) continue;
      for (let i = shape_start[k]; i < shape_start[k + 1]; i++) {
        const at = 3 * shape_vertex[i];
        positions[at] += weight * shape_delta[i];
        positions[at + 1] += weight * shape_delta[total + i];
        positions[at + 2] += weight * shape_delta[2 * total + i];
      }
    }
  }

  /** Turn an eyeball about its centre, and push the lids out of it. */
  #lookAround(weights, side, index) {
    const { names, gaze: [sideways, upward, downward] } = this.settings;
    const look = (way) => weights[names.indexOf(`eyeLook${way}${side}`)];
    const outward = side === "Left" ? 1 : -1;
    const yaw = outward * sideways * (look("Out") - look("In"));
    const pitch = downward * look("Down") - upward * look("Up");
    const [vertices, shares, centre, lids, floors] = [
      "vertices", "shares", "centre", "lids", "floors",
    ].map((name) => this[`eye${index}_${name}`]);
    this.#rotate(eulerMatrix(yaw, pitch, 0), centre, shares, vertices);
    this.#pushOut(lids, floors, centre);
  }

  #pushOut(lids, floors, centre) {
    const { positions } = this;
    lids.forEach((vertex, i) => {
      const apart = [0, 1, 2].map((axis) => positions[3 * vertex + axis] - centre[axis]);
      const stretch = Math.max(floors[i] / Math.max(Math.hypot(...apart), 1e-9), 1);
      for (const axis of [0, 1, 2]) {
        positions[3 * vertex + axis] = centre[axis] + apart[axis] * stretch;
      }
    });
  }

  /** Turn the head on its neck; a FLAME head's pose correctives included. */
  #turn(matrix) {
    const { positions, correctives } = this;
    if (correctives) {
      const width = 3 * this.count;
      for (let k = 0; k < 9; k++) {
        const change = matrix[k] - (k % 4 ? 0 : 1);
        for (let i = 0; i < width; i++) positions[i] += change * correctives[k * width + i];
      }
    }
    this.#rotate(matrix, this.neck_joint, this.neck_share);
  }

  /** Rotate vertices (all without `vertices`) about `centre`, each by its share. */
  #rotate(m, centre, shares, vertices = null) {
    const p = this.positions;
    for (let i = 0; i < shares.length; i++) {
      const at = 3 * (vertices ? vertices[i] : i);
      const share = shares[i];
      const x = p[at] - centre[0];
      const y = p[at + 1] - centre[1];
      const z = p[at + 2] - centre[2];
      p[at] += share * (m[0] * x + m[1] * y + m[2] * z - x);
      p[at + 1] += share * (m[3] * x + m[4] * y + m[5] * z - y);
      p[at + 2] += share * (m[6] * x + m[7] * y + m[8] * z - z);
    }
  }

  /** Normals of the vertices: the mean of their faces', weighted by area. */
  #findNormals() {
    const p = this.positions;
    const n = this.normals;
    const corners = this.corners;
    n.fill(0, 0, 3 * this.count);
    for (let i = 0; i < corners.length; i += 3) {
      const a = corners[i];
      const b = corners[i + 1];
      const c = corners[i + 2];
      const ux = p[b] - p[a];
      const uy = p[b + 1] - p[a + 1];
      const uz = p[b + 2] - p[a + 2];
      const vx = p[c] - p[a];
      const vy = p[c + 1] - p[a + 1];
      const vz = p[c + 2] - p[a + 2];
      for (let corner = i; corner < i + 3; corner++) {
        const at = corners[corner];
        n[at] += uy * vz - uz * vy;
        n[at + 1] += uz * vx - ux * vz;
        n[at + 2] += ux * vy - uy * vx;
      }
    }
    normalise(n, 0, this.count);
  }

  /** Midpoints of long edges, moved toward the planes that touch both ends (Phong tessellation). */
  #roundOutlines() {
    const p = this.positions;
    const n = this.normals;
    const { split, splits, count } = this;
    const roundness = this.settings.roundness / 4;
    for (let i = 0; i < splits; i++) {
      const a = 3 * split[i];
      const b = 3 * split[splits + i];
      const at = 3 * (count + i);
      let aboveA = 0;
      let aboveB = 0;
      for (let axis = 0; axis < 3; axis++) {
        const apart = p[b + axis] - p[a + axis];
        aboveA += n[a + axis] * apart;
        aboveB -= n[b + axis] * apart;
      }
      for (let axis = 0; axis < 3; axis++) {
        const lift = aboveA * n[a + axis] + aboveB * n[b + axis];
        p[at + axis] = (p[a + axis] + p[b + axis]) / 2 - roundness * lift;
        n[at + axis] = n[a + axis] + n[b + axis];
      }
    }
    normalise(n, count, count + splits);
  }
}

/** Rolled about z first, then pitched about x, then yawed about y; [9], row by row. */
export function eulerMatrix(yaw, pitch, roll) {
  const [cy, sy, cx, sx] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  const [cz, sz] = [Math.cos(roll), Math.sin(roll)];
  return [
    cy * cz + sy * sx * sz, sy * sx * cz - cy * sz, sy * cx,
    cx * sz, cx * cz, -sx,
    cy * sx * sz - sy * cz, sy * sz + cy * sx * cz, cy * cx,
  ];
}

/** Rows [3, N] as rows [N, 3], unsigned. */
export function interleaved(rows) {
  const count = rows.length / 3;
  const values = new Uint32Array(rows.length);
  for (let i = 0; i < count; i++) {
    for (let axis = 0; axis < 3; axis++) values[3 * i + axis] = rows[axis * count + i];
  }
  return values;
}

function normalise(vectors, start, end) {
  for (let at = 3 * start; at < 3 * end; at += 3) {
    const x = vectors[at];
    const y = vectors[at + 1];
    const z = vectors[at + 2];
    const length = Math.sqrt(x * x + y * y + z * z) || 1; // Math.hypot is many times slower
    vectors[at] = x / length;
    vectors[at + 1] = y / length;
    vectors[at + 2] = z / length;
  }
}
