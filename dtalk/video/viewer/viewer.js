// The page: heads, sound, time and curves in one place.

import { Orbit } from "./orbit.js";
import { Player } from "./player.js";
import { colorOf, drawPlot, legendItem } from "./plot.js";
import { Renderer } from "./renderer.js";

const FIRST_CURVES = ["jawOpen", "mouthFunnel", "mouthSmileLeft", "browInnerUp", "eyeBlinkLeft"];
const GROUPS = { Jaw: "jaw", Mouth: "mouth", Tongue: "tongue", Brows: "brow", Eyes: "eye",
  Cheeks: "cheek", Nose: "nose" };
const MARKUP = `
<section class="stage" aria-label="Head">
  <canvas class="head" tabindex="0" role="application" aria-roledescription="3D view"
    aria-label="Talking head" aria-describedby="keys"></canvas>
  <ol class="labels"></ol>
  <p class="trouble" role="alert" hidden></p>
</section>
<section class="curves" aria-label="Curves">
  <h2>Curves</h2>
  <button type="button" class="clear">Hide all</button>
</section>
<section class="transport" aria-label="Playback">
  <div class="plot"><canvas role="img"></canvas><div class="playhead"></div></div>
  <ul class="legend" aria-label="Curves that are shown"></ul>
  <input class="scrub" type="range" min="0" value="0" step="1" aria-label="Time">
  <div class="buttons">
    <button type="button" class="play">Play</button>
    <output class="time" aria-label="Time"></output>
    <label>Speed <select class="speed">
      <option>0.25</option><option>0.5</option><option selected>1</option><option>2</option>
    </select></label>
    <label><input type="checkbox" class="loop"> Loop</label>
    <label><input type="checkbox" class="mute"> Mute</label>
    <label><input type="checkbox" class="wires"> Triangles</label>
    <button type="button" class="front">Reset view</button>
  </div>
  <p class="keys" id="keys">Space plays. Comma and full stop step a frame. On the head: drag or
    arrow keys turn, wheel or + and - zoom, 0 or a double click resets.</p>
</section>`;

/** A viewer inside an element: `show` it motions. */
export class Viewer {
  constructor(root, head) {
    this.root = root;
    this.head = head;
    this.motions = [];
    this.chosen = FIRST_CURVES.map((name) => head.settings.names.indexOf(name));
    root.classList.add("viewer");
    root.innerHTML = MARKUP;
    this.player = new Player(() => this.#refresh(), (text) => this.#complain(text));
    this.orbit = new Orbit(head.settings.camera, () => this.#refresh());
    this.orbit.listen(this.#find(".head"));
    this.#makeRenderer();
    this.#makeToggles();
    this.#listen();
  }

  /** Show motions `{name, curves, rotation, fps}`, all as long as each other, with a sound. */
  show(motions, sound) {
    const width = this.head.settings.names.length;
    this.motions = motions.map((motion) => ({ ...motion, width }));
    this.frame = -1;
    const [{ curves, fps }] = this.motions;
    this.#find(".scrub").max = curves.length / width - 1;
    this.#find(".trouble").hidden = Boolean(this.renderer);
    this.player.load(sound, curves.length / width, fps);
    this.#find(".mute").disabled = !sound;
    this.#showLabels();
    this.#layOut();
  }

  #find(selector) {
    return this.root.querySelector(selector);
  }

  #makeRenderer() {
    const canvas = this.#find(".head");
    try {
      this.renderer = new Renderer(canvas, this.head);
      this.renderer.wireframe = this.head.settings.wireframe;
    } catch (error) {
      this.#complain(`The head cannot be drawn: ${error.message}.`);
    }
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.#makeRenderer();
      this.#refresh();
    });
  }

  #makeToggles() {
    const { names } = this.head.settings;
    for (const [title, prefix] of Object.entries(GROUPS)) {
      const group = document.createElement("fieldset");
      group.append(Object.assign(document.createElement("legend"), { textContent: title }));
      names.forEach((name, channel) => {
        if (name.startsWith(prefix)) group.append(this.#toggle(name, channel));
      });
      this.#find(".curves").append(group);
    }
    this.values = names.map((_, channel) => this.#find(`[value="${channel}"] ~ output`));
  }

  #toggle(name, channel) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), {
      type: "checkbox", value: channel, checked: this.chosen.includes(channel),
    });
    box.addEventListener("change", () => {
      this.chosen = this.chosen.filter((other) => other !== channel);
      if (box.checked) this.chosen.push(channel);
      this.#drawCurves();
    });
    label.append(box, Object.assign(document.createElement("span"), { textContent: name, title: name }));
    label.append(document.createElement("output"));
    return label;
  }

  #listen() {
    const on = (selector, event, action) => {
      this.#find(selector).addEventListener(event, ({ target }) => action(target));
    };
    const { player } = this;
    on(".play", "click", () => player.toggle());
    on(".scrub", "input", ({ value }) => player.seekFrame(Number(value)));
    on(".speed", "change", ({ value }) => {
      player.audio.defaultPlaybackRate = player.audio.playbackRate = Number(value);
    });
    on(".loop", "change", ({ checked }) => (player.audio.loop = checked));
    on(".mute", "change", ({ checked }) => (player.audio.muted = checked));
    on(".wires", "change", ({ checked }) => {
      if (this.renderer) this.renderer.wireframe = checked;
      this.#refresh();
    });
    on(".front", "click", () => this.orbit.reset());
    on(".clear", "click", () => this.#hideCurves());
    this.#find(".wires").checked = this.head.settings.wireframe;
    this.#listenToPlot(this.#find(".plot"));
    document.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.#layOut()).observe(this.root);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#drawCurves());
  }

  #listenToPlot(plot) {
    const seek = (event) => {
      if (!event.buttons) return;
      const { left, width } = plot.getBoundingClientRect();
      this.player.seek(((event.clientX - left) / width) * this.player.seconds);
    };
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      seek(event);
    });
    plot.addEventListener("pointermove", seek);
  }

  /** Space plays unless it would press what has the focus; comma and full stop step. */
  #press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.motions.length) return;
    const { tagName = "", type } = event.target;
    if (["TEXTAREA", "SELECT"].includes(tagName) || (type === "text" && tagName === "INPUT")) return;
    const pressed = tagName === "BUTTON" || type === "checkbox";
    const step = { ",": -1, ".": 1 }[event.key];
    if (event.key === " " && !pressed && !event.repeat) this.player.toggle();
    else if (step) this.player.seekFrame(this.player.frame + step);
    else if (event.key !== " " || pressed) return;
    event.preventDefault();
  }

  #hideCurves() {
    this.chosen = [];
    for (const box of this.root.querySelectorAll(".curves input")) box.checked = false;
    this.#drawCurves();
  }

  #showLabels() {
    const items = this.motions.map(({ name }) => {
      const item = document.createElement("li");
      item.append(Object.assign(document.createElement("span"), { textContent: name }));
      return item;
    });
    this.#find(".labels").replaceChildren(...items);
  }

  /** Fit canvases to the window, with as many columns as make the heads largest. */
  #layOut() {
    if (!this.motions.length) return;
    const canvas = this.#find(".head");
    const count = this.motions.length;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const side = (columns) => Math.min(width / columns, height / Math.ceil(count / columns));
    const choices = this.motions.map((_, index) => index + 1);
    this.columns = choices.reduce((best, next) => (side(next) > side(best) ? next : best));
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    canvas.width = Math.max(1, Math.round(width * ratio));
    canvas.height = Math.max(1, Math.round(height * ratio));
    this.#find(".labels").style.gridTemplateColumns = `repeat(${this.columns}, 1fr)`;
    this.#drawCurves();
    this.#draw();
  }

  #drawCurves() {
    if (!this.motions.length) return;
    const { names } = this.head.settings;
    const canvas = this.#find(".plot canvas");
    this.#find(".plot").hidden = !this.chosen.length;
    canvas.setAttribute("aria-label", `Over time: ${this.chosen.map((k) => names[k]).join(", ")}`);
    drawPlot(canvas, this.motions, this.chosen);
    this.#find(".legend").replaceChildren(...this.#legend());
    this.values.forEach((output, channel) => {
      const place = this.chosen.indexOf(channel);
      output.parentElement.style.setProperty("--color", place < 0 ? "" : colorOf(place));
    });
  }

  /** Colours tell curves apart, patterns of the line motions. */
  #legend() {
    const { names } = this.head.settings;
    const curves = this.chosen.map((channel, place) => legendItem(names[channel], colorOf(place)));
    if (this.motions.length === 1 || !this.chosen.length) return curves;
    const lines = this.motions.map(({ name }, index) =>
      legendItem(name || `${index + 1}`, "currentColor", index));
    return [...curves, ...lines];
  }

  /** Draw with the next picture of the screen, and go on as long as the sound plays. */
  #refresh() {
    if (this.waiting || !this.motions.length) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.#draw();
      if (this.player.playing) this.#refresh();
    });
  }

  #draw() {
    const { frame, seconds, time } = this.player;
    const poses = this.motions.map(({ curves, rotation, width }) => ({
      weights: curves.subarray(frame * width, (frame + 1) * width),
      rotation: rotation?.subarray(3 * frame, 3 * frame + 3),
    }));
    this.renderer?.draw(poses, this.columns, this.orbit);
    this.#find(".playhead").style.left = `${(100 * time) / seconds}%`;
    this.#find(".play").textContent = this.player.playing ? "Pause" : "Play";
    if (frame !== this.frame) this.#showFrame(frame, poses);
    this.root.dispatchEvent(new CustomEvent("frame", { detail: { frame, time } }));
  }

  #showFrame(frame, poses) {
    this.frame = this.root.dataset.frame = frame;
    const clock = (seconds) => seconds.toFixed(2);
    const text = `${clock(this.player.time)} of ${clock(this.player.seconds)} s`;
    const scrub = this.#find(".scrub");
    scrub.value = frame;
    scrub.setAttribute("aria-valuetext", `${text}, frame ${frame}`);
    this.#find(".time").textContent = text;
    this.values.forEach((output, channel) => {
      output.textContent = poses.map(({ weights }) => weights[channel].toFixed(2)).join(" ");
    });
  }

  #complain(text) {
    Object.assign(this.#find(".trouble"), { textContent: text, hidden: false });
  }
}
