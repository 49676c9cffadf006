// Colours of classes and confidences, painted from arrays of one byte a pixel.

const MOST_PIXELS = 2 ** 22;   // of the canvas: more than a screen shows, and quick to paint
// viridis (matplotlib), at 0, 1/8, ... 1; page.css has the same ramp
const RAMP = ['#440154', '#472d7b', '#3b528b', '#2c728e', '#21918c', '#28ae80', '#5ec962', '#addc30', '#fde725'];

/** Return (red, green, blue) of '#rrggbb'. */
export const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** Return 256 pixel values: the colours of classes. */
export function classTable(classes) {
  const bytes = new Uint8Array(1024);
  for (const { index, colour } of classes) bytes.set([...rgb(colour), 255], 4 * index);
  return new Uint32Array(bytes.buffer);
}

/** Return 256 pixel values of colours, '#rrggbb' each. */
export function rampTable(colours) {
  return classTable(colours.map((colour, index) => ({ index, colour })));
}

/** Return 256 pixel values of a colour ramp from no confidence to full confidence. */
export function confidenceTable() {
  const bytes = new Uint8Array(1024);
  const stops = RAMP.map(rgb);
  for (let value = 0; value < 256; value++) {
    const at = (value / 255) * (stops.length - 1);
    const left = Math.min(Math.floor(at), stops.length - 2);
    const channels = stops[left].map((low, i) => Math.round(low + (at - left) * (stops[left + 1][i] - low)));
    bytes.set([...channels, 255], 4 * value);
  }
  return new Uint32Array(bytes.buffer);
}

/**
 * Paint pixels on a canvas of at most MOST_PIXELS.
 *
 * values: one byte a pixel, painted by `table`. shown: 256 flags by class; others stay transparent.
 */
export function paint(canvas, pixels, values, table, shown) {
  const { width, height, labels } = pixels;
  const factor = Math.min(1, Math.sqrt(MOST_PIXELS / (width * height)));
  const columns = Math.max(1, Math.round(width * factor));
  const rows = Math.max(1, Math.round(height * factor));
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const source = (index, count, length) => Math.min(length - 1, Math.floor(((index + 0.5) * length) / count));
  const lefts = Uint32Array.from({ length: columns }, (_, x) => source(x, columns, width));
  const target = new Uint32Array(columns * rows);
  for (let y = 0, at = 0; y < rows; y++) {
    const start = source(y, rows, height) * width;
    for (let x = 0; x < columns; x++, at++) {
      const pixel = start + lefts[x];
      if (shown[labels[pixel]]) target[at] = table[values[pixel]];
    }
  }
  const image = new ImageData(new Uint8ClampedArray(target.buffer), columns, rows);
  canvas.getContext('2d').putImageData(image, 0, 0);
}

/** Blend table colours into RGBA pixels in place, rounded down as infer.py does. */
export function blend(rgba, pixels, values, table, shown, opacity) {
  const colours = new Uint8Array(table.buffer);
  for (let i = 0; i < pixels.labels.length; i++) {
    if (!shown[pixels.labels[i]]) continue;
    const at = 4 * i;
    const from = 4 * values[i];
    for (let channel = 0; channel < 3; channel++) {
      rgba[at + channel] = Math.trunc(
        rgba[at + channel] * (1 - opacity) + colours[from + channel] * opacity);
    }
  }
}
