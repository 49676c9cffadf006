// The server's answer as arrays and files.

export const PER_METRE = 256;   // of depth: its values are metres times this

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
 * Return the tasks of an answer: {name, kind, ...}, kind is 'classes' or 'depth'.
 *
 * A model with one task that has classes answers without `tasks`; its task has the name ''.
 */
export function tasksOf(answer) {
  if (!answer.tasks) return [{ ...answer, name: '', kind: 'classes' }];
  return Object.entries(answer.tasks).map(([name, task]) => ({ ...task, name }));
}

/**
 * Return the pixels of a task with classes: {width, height, labels, confidence}.
 *
 * Both arrays have one byte a pixel, row by row: class indices, and 255 times the confidence.
 *
 * Those of depth are {width, height, labels, levels, values}: 1 where the depth is known, the
 * place in the ramp of colours, and metres times 256.
 */
export async function pixelsOf({ width, height }, task) {
  if (task.kind === 'depth') return { width, height, ...await depthOf(task, width * height) };
  const [labels, confidence] = await Promise.all([
    inflated(task.pixels.labels, width * height),
    inflated(task.pixels.confidence, width * height),
  ]);
  return { width, height, labels, confidence };
}

async function depthOf({ pixels, colours }, count) {
  const values = new Uint16Array((await inflated(pixels.depth, 2 * count)).buffer);
  const levelOf = Uint8Array.from({ length: 2 ** 16 }, (_, value) => Math.round(255 * placeOf(value / PER_METRE, colours)));
  return { values, levels: Uint8Array.from(values, (value) => levelOf[value]), labels: Uint8Array.from(values, (value) => value > 0) };
}

/** Return the place of a depth between the far end of the colours, 0, and the near one, 1. */
export function placeOf(metres, { near, far }) {
  if (metres <= 0) return 0;
  return Math.min(1, Math.max(0, Math.log(far / metres) / Math.log(far / near)));
}

/** Return a PNG of a task, such as 'labels', as the server encoded it. */
export function pngOf(task, kind) {
  return new Blob([bytesOf(task.pictures[kind])], { type: 'image/png' });
}

/** Return the JSON text of an answer without the pictures in it. */
export function jsonOf(answer) {
  const factsOf = ({ pixels, pictures, original, ...facts }) => facts;
  const facts = factsOf(answer);
  for (const [name, task] of Object.entries(facts.tasks ?? {})) {
    facts.tasks = { ...facts.tasks, [name]: factsOf(task) };
  }
  return `${JSON.stringify(facts, null, 2)}\n`;
}
