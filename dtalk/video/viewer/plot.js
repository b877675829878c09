// Curves over time, on a canvas: one colour a curve, one dash pattern a motion.

// Okabe and Ito's colours, told apart with every kind of colour vision; no black, no yellow.
const COLORS = ["#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];
const MARGIN = 6; // pixels above and below

/** The colour of the n-th curve that is switched on. */
export function colorOf(place) {
  return COLORS[place % COLORS.length];
}

/** An item of a legend: a line as it is drawn, of a colour and the n-th motion's pattern, and a name. */
export function legendItem(name, color, motion = 0) {
  const item = document.createElement("li");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  line.setAttribute("viewBox", "0 0 26 4");
  line.setAttribute("aria-hidden", "true");
  line.innerHTML = `<path d="M0 2H26" stroke="${color}" stroke-width="2.5"
    stroke-dasharray="${DASHES[motion % DASHES.length].join(" ")}"/>`;
  item.append(line, Object.assign(document.createElement("span"), { textContent: name }));
  return item;
}

/** Draw `chosen` channels of all motions, `{curves, width}` with [T, width] values. */
export function drawPlot(canvas, motions, chosen) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const range = rangeOf(motions, chosen);
  const y = (value) =>
    height - MARGIN - ((value - range[0]) / (range[1] - range[0])) * (height - 2 * MARGIN);
  drawGrid(context, width, y, getComputedStyle(canvas).color);
  motions.forEach((motion, index) => {
    context.setLineDash(DASHES[index % DASHES.length]);
    chosen.forEach((channel, place) => {
      context.strokeStyle = colorOf(place);
      context.lineWidth = 1.5;
      drawCurve(context, motion, channel, width, y);
    });
  });
}

/** The least and greatest value shown: 0 to 1, and whatever lies outside. */
function rangeOf(motions, chosen) {
  let [low, high] = [0, 1];
  for (const { curves, width } of motions) {
    for (const channel of chosen) {
      for (let at = channel; at < curves.length; at += width) {
        low = Math.min(low, curves[at]);
        high = Math.max(high, curves[at]);
      }
    }
  }
  return [low, high];
}

function drawGrid(context, width, y, color) {
  context.strokeStyle = color;
  context.globalAlpha = 0.25;
  for (const value of [0, 0.5, 1]) {
    context.beginPath();
    context.moveTo(0, y(value));
    context.lineTo(width, y(value));
    context.stroke();
  }
  context.globalAlpha = 1;
}

function drawCurve(context, { curves, width: channels }, channel, width, y) {
  const frames = curves.length / channels;
  context.beginPath();
  for (let k = 0; k < frames; k++) {
    context.lineTo(((k + 0.5) / frames) * width, y(curves[k * channels + channel]));
  }
  context.stroke();
}
