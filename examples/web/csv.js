// Curves as a csv of Apple's Live Link Face app, as `dtalk.motion.live_link` writes it.

const CLOCK = 60; // ticks a second of a timecode
const DECIMALS = 10;
const SIDES = { Left: 1, Right: -1 };
const ANGLES = ["Yaw", "Pitch", "Roll"];

/** Text of 63 columns for curves [T, width]; `gaze` are the radians sideways, down and up at 1. */
export function toCsv(curves, names, fps, gaze) {
  const turns = ["Head", "LeftEye", "RightEye"].flatMap((what) => ANGLES.map((a) => what + a));
  const shapes = names.map((name) => name[0].toUpperCase() + name.slice(1));
  const lines = [["Timecode", "BlendShapeCount", ...shapes, ...turns].join(",")];
  for (let k = 0; k < curves.length / names.length; k++) {
    const row = curves.subarray(k * names.length, (k + 1) * names.length);
    const weight = (name) => row[names.indexOf(name)];
    const eyes = Object.entries(SIDES).flatMap(([side, outward]) => eyeAngles(weight, side, outward, gaze));
    const values = [...row, 0, 0, 0, ...eyes];
    const cells = values.map((value) => value.toFixed(DECIMALS));
    lines.push([timecode(k, fps), values.length, ...cells].join(","));
  }
  return `${lines.join("\n")}\n`;
}

/** Yaw, positive to the right, pitch and roll. */
function eyeAngles(weight, side, outward, [sideways, downward, upward]) {
  const out = weight(`eyeLookOut${side}`) - weight(`eyeLookIn${side}`);
  const down = downward * weight(`eyeLookDown${side}`) - upward * weight(`eyeLookUp${side}`);
  return [0 - outward * sideways * out, down, 0];
}

/** HH:MM:SS:FF.sss of a frame's start. */
function timecode(frame, fps) {
  const ticks = Math.round((frame / fps) * CLOCK * 1000);
  const seconds = Math.floor(ticks / (CLOCK * 1000));
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = ticks % (CLOCK * 1000);
  const clock = [seconds / 3600, (seconds / 60) % 60, seconds % 60, rest / 1000].map(two);
  return `${clock.join(":")}.${String(rest % 1000).padStart(3, "0")}`;
}
