// The scale at which the network sees a picture.

const AUTOMATIC_PIXELS = 2 ** 20;

/** Return the scale of a picture for a choice: 'auto' or a number. */
export function scaleFor(choice, picture, model) {
  if (!model.scalable) return 1;
  if (choice !== 'auto') return choice;
  if (picture.pixels <= AUTOMATIC_PIXELS) return 1;
  const exact = Math.sqrt(AUTOMATIC_PIXELS / picture.pixels);
  return Math.max(0.001, Math.floor(1000 * exact) / 1000);
}

/** Return how the network saw a picture, in words. */
export function describeScale(answer, model) {
  if (!model.scalable) return 'resized as the model asks for';
  if (!answer.scale || answer.scale === 1) return 'seen at its own size';
  const side = (length) => Math.max(1, Math.round(length * answer.scale));
  return `seen at ${side(answer.width)} × ${side(answer.height)} (scale ${+answer.scale.toFixed(3)})`;
}
