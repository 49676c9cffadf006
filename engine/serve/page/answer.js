// The server's answer as arrays and files.

/** Return the bytes of a base64 text. */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function inflated(base64, length) {
  const stream = new Blob([bytesOf(base64)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const pixels = new Uint8Array(await new Response(stream).arrayBuffer());
  if (pixels.length !== length) throw new RangeError(`${pixels.length} pixels instead of ${length}`);
  return pixels;
}

/**
 * Return the pixels of an answer: {width, height, labels, confidence}.
 *
 * Both arrays have one byte a pixel, row by row: class indices, and 255 times the confidence.
 */
export async function pixelsOf(answer) {
  const { width, height } = answer;
  const [labels, confidence] = await Promise.all([
    inflated(answer.pixels.labels, width * height),
    inflated(answer.pixels.confidence, width * height),
  ]);
  return { width, height, labels, confidence };
}

/** Return a PNG of an answer, 'labels' or 'palette', as the server encoded it. */
export function pngOf(answer, kind) {
  return new Blob([bytesOf(answer.pictures[kind])], { type: 'image/png' });
}

/** Return the JSON text of an answer without the pictures in it. */
export function jsonOf(answer) {
  const { pixels, pictures, original, ...facts } = answer;
  return `${JSON.stringify(facts, null, 2)}\n`;
}
