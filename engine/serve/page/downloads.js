// Files to keep: what is seen, class indices, depth, the numbers.

import { jsonOf, pngOf } from './answer.js';
import { make, save } from './dom.js';
import { blend } from './painting.js';
import * as words from './words.js';

// Endings of the files that infer.py writes, too
const ENDINGS = { labels: '_labels', palette: '_palette', depth: '_metres', overlay: '' };

const named = (picture, task) => words.stem(picture.name) + (task.name && `_${task.name}`);

/** Save a picture of a task, such as 'labels' or 'depth', as the server encoded it. */
export function savePng(picture, task, kind) {
  save(pngOf(task, kind), `${named(picture, task)}${ENDINGS[kind]}.png`);
}

export function saveJson(picture) {
  save(new Blob([jsonOf(picture.answer)], { type: 'application/json' }), `${words.stem(picture.name)}.json`);
}

/**
 * Save what is seen over the original, at the picture's size.
 *
 * seen: {task, kind, pixels, values, table, shown, opacity}. Throws a RangeError with a line for the user
 * where the browser falsifies what it reads from a canvas, as some do for privacy.
 */
export async function saveSeen(picture, seen) {
  const { width, height } = seen.pixels;
  const image = new Image();
  image.src = picture.shownUrl;
  await image.decode();
  const canvas = make('canvas', { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  const blended = context.getImageData(0, 0, width, height);
  blend(blended.data, seen.pixels, seen.values, seen.table, seen.shown, seen.opacity);
  context.putImageData(blended, 0, 0);
  if (!equal(blended.data, context.getImageData(0, 0, width, height).data)) {
    throw new RangeError('The privacy settings of this browser falsify pictures that a page makes: '
      + 'allow this page to read canvases, or download the palette PNG');
  }
  const png = await new Promise((done) => canvas.toBlob(done, 'image/png'));
  save(png, `${named(picture, seen.task)}_${seen.kind}.png`);
}

function equal(a, b) {
  const left = new Uint32Array(a.buffer);
  const right = new Uint32Array(b.buffer);
  return left.every((value, i) => value === right[i]);
}
