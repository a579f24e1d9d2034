// A prediction as a coloured map: dark blue where it is low, yellow where it is high, apart for every kind of sight.
import { s } from "./elements.js";

// Anchors of a scale whose lightness rises evenly from blue to yellow.
const SCALE = [[12, 35, 78], [43, 66, 110], [83, 92, 111], [120, 120, 121], [159, 149, 117], [204, 181, 99], [250, 222, 73]];

export function colourAt(share) {
  const at = Math.min(Math.max(share, 0), 1) * (SCALE.length - 1);
  const [i, part] = [Math.min(Math.floor(at), SCALE.length - 2), at - Math.min(Math.floor(at), SCALE.length - 2)];
  return SCALE[i].map((from, k) => Math.round(from + part * (SCALE[i + 1][k] - from)));
}

const canvas = document.createElement("canvas");

// Values (high × wide, the lowest row first) as a picture over the frame of a map.
export function paint(map, values, wide, high, [low, top]) {
  canvas.width = wide;
  canvas.height = high;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const image = context.createImageData(wide, high);
  for (let i = 0; i < high; i += 1) {
    for (let j = 0; j < wide; j += 1) {
      const at = 4 * ((high - 1 - i) * wide + j);
      const [r, g, b] = colourAt((values[i * wide + j] - low) / (top - low || 1));
      image.data[at] = r; image.data[at + 1] = g; image.data[at + 2] = b; image.data[at + 3] = 255;
    }
  }
  context.putImageData(image, 0, 0);
  const [x, y, width, height] = map.inner;
  // Half a cell further on each side: the centre of an outer cell lies on the frame.
  const [w, t] = [width / (wide - 1), height / (high - 1)];
  map.cells.replaceChildren(s("image", { href: canvas.toDataURL(), x: x - w / 2, y: y - t / 2, width: width + w, height: height + t, preserveAspectRatio: "none" }));
}
