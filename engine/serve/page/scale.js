// The scale at which the network sees a picture.

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
export function describeScale({ scale, width, height }, model) {
  if (scale === null) return model.resizes ? 'resized by the model' : 'seen at the model’s own scale';
  const side = (length) => Math.max(1, Math.round(length * scale));
  return `seen at ${side(width)} × ${side(height)} (scale ${Number(scale.toFixed(3))})`;
}
