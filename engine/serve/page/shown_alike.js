// Files that the browser shows otherwise than the server reads them: moving or transparent ones.

import { make } from './dom.js';

const HEAD = 4096;
const TILE = 1024;   // pixels of a side of what is looked through at once
const GREY_AND_ALPHA = 4;   // types of a PNG's pixels
const COLOURS_AND_ALPHA = 6;

/** Return whether a file, which the browser shows as `image`, looks as the server reads it. */
export async function isShownAlike(file, image) {
  const head = String.fromCharCode(...new Uint8Array(await file.slice(0, HEAD).arrayBuffer()));
  return !moves(head) && !(mayBeTransparent(head) && isTransparent(image));
}

/** Return whether a file has several frames: the browser plays them, the server reads the first. */
function moves(head) {
  if (head.startsWith('GIF8')) return true;
  if (head.startsWith('\x89PNG')) return head.includes('acTL');
  if (head.slice(8, 16) === 'WEBPVP8X') return (head.charCodeAt(20) & 2) !== 0;
  return head.slice(4, 12) === 'ftypavis';
}

/** Return whether a file has an alpha channel, which the server ignores. */
function mayBeTransparent(head) {
  if (head.startsWith('\x89PNG')) {
    return [GREY_AND_ALPHA, COLOURS_AND_ALPHA].includes(head.charCodeAt(25)) || head.includes('tRNS');
  }
  return /^RIFF....WEBPVP8[LX]|^....ftypavif/s.test(head);
}

function isTransparent(image) {
  const context = make('canvas', { width: TILE, height: TILE }).getContext('2d', { willReadFrequently: true });
  for (let top = 0; top < image.naturalHeight; top += TILE) {
    for (let left = 0; left < image.naturalWidth; left += TILE) {
      const width = Math.min(TILE, image.naturalWidth - left);
      const height = Math.min(TILE, image.naturalHeight - top);
      context.clearRect(0, 0, TILE, TILE);
      context.drawImage(image, -left, -top);
      const { data } = context.getImageData(0, 0, width, height);
      for (let at = 3; at < data.length; at += 4) if (data[at] < 255) return true;
    }
  }
  return false;
}
