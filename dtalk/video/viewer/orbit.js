// A camera that goes around the head: by mouse, by touch, by keys.

const STEP = Math.PI / 36;
const ZOOM_STEP = 1.1;
const [LOWEST, HIGHEST] = [-0.6, 1.2]; // radians of pitch: not under the open neck
const [CLOSEST, FURTHEST] = [0.25, 3]; // of the distance at the start
const KEYS = {
  ArrowLeft: (orbit) => orbit.turn(STEP, 0),
  ArrowRight: (orbit) => orbit.turn(-STEP, 0),
  ArrowUp: (orbit) => orbit.turn(0, STEP),
  ArrowDown: (orbit) => orbit.turn(0, -STEP),
  "+": (orbit) => orbit.zoom(1 / ZOOM_STEP),
  "=": (orbit) => orbit.zoom(1 / ZOOM_STEP),
  "-": (orbit) => orbit.zoom(ZOOM_STEP),
  0: (orbit) => orbit.reset(),
};

/** Yaw, pitch and distance about a target; `changed` is called after every change. */
export class Orbit {
  constructor({ target, offset, field_of_view, yaw }, changed) {
    const distance = Math.hypot(...offset);
    this.target = target;
    this.half = Math.tan(field_of_view / 2);
    this.start = { yaw, pitch: Math.asin(offset[1] / distance), distance };
    this.changed = () => {};
    this.reset();
    this.changed = changed;
  }

  reset() {
    Object.assign(this, this.start);
    this.changed();
  }

  /** Walk on around the head, radians: to the character's left, and up. */
  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(HIGHEST, Math.max(LOWEST, this.pitch + pitch));
    this.changed();
  }

  /** Multiply the distance. */
  zoom(factor) {
    const { distance } = this.start;
    const wanted = this.distance * factor;
    this.distance = Math.min(FURTHEST * distance, Math.max(CLOSEST * distance, wanted));
    this.changed();
  }

  /** Where the camera stands, [3]. */
  position() {
    return this.#backward().map((part, axis) => this.target[axis] + this.distance * part);
  }

  /** World to clip space, [16], row by row. */
  projection(aspect) {
    const { yaw, pitch, distance } = this;
    const half = this.half * Math.max(1, 1 / aspect); // the face must fit a tall picture too
    const right = [Math.cos(yaw), 0, -Math.sin(yaw)];
    const up = [-Math.sin(pitch) * Math.sin(yaw), Math.cos(pitch), -Math.sin(pitch) * Math.cos(yaw)];
    const backward = this.#backward();
    const eye = this.position();
    const row = (axis, scale) => [...axis.map((x) => scale * x), -scale * dot(axis, eye)];
    const [near, far] = [distance / 8, distance * 2];
    const depth = row(backward, (far + near) / (near - far));
    depth[3] += (2 * far * near) / (near - far);
    return [...row(right, 1 / (half * aspect)), ...row(up, 1 / half), ...depth, ...row(backward, -1)];
  }

  /** Let the pointers and keys of an element move the camera. */
  listen(element) {
    const pointers = new Map();
    element.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, event);
      element.setPointerCapture(event.pointerId);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      element.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    element.addEventListener("pointermove", (event) => this.#drag(element, pointers, event));
    element.addEventListener("dblclick", () => this.reset());
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) / 500));
    }, { passive: false });
    element.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      KEYS[event.key](this);
    });
  }

  /** One pointer turns, two zoom. */
  #drag(element, pointers, event) {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
    pointers.set(event.pointerId, event);
    if (other) {
      this.zoom(apart(before, other) / Math.max(apart(event, other), 1));
      return;
    }
    const scale = Math.PI / element.clientHeight;
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    this.turn(-x * scale, y * scale);
  }

  #backward() {
    const { yaw, pitch } = this;
    const flat = Math.cos(pitch);
    return [Math.sin(yaw) * flat, Math.sin(pitch), Math.cos(yaw) * flat];
  }
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function apart(a, b) {
  return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
}
