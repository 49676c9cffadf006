// The scale at which the network sees a picture.

import * as words from './words.js';

const AUTOMATIC_PIXELS = 2 ** 20;

/**
 * Return the scale of a picture for a choice, 'auto' or a number.
 *
 * null leaves the scale to the model, which may resize pictures itself.
 */
export function scaleFor(choice, picture, model) {
  if (!model.scalable) return null;
  if (choice !== 'auto') return choice;
  if (model.resizes || picture.pixels <= AUTOMATIC_PIXELS) return null;
  const exact = Math.sqrt(AUTOMATIC_PIXELS / picture.pixels);
  return Math.max(0.001, Math.floor(1000 * exact) / 1000);
}

/** Return how the network saw a picture, in words. */
export function describeScale({ scale, views }) {
  const sizes = views.map(({ width, height }) => words.size(width, height)).join(' and ');
  return `seen at ${sizes}${scale === null ? '' : ` (scale ${Number(scale.toFixed(3))})`}`;
}
