// Numbers and sizes as the page writes them.

/** Return a share of 0..1 in percent; a small one keeps a digit, so that it is not 0. */
export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return '< 0.1 %';
  return `${value.toFixed(value < 9.95 && value > 0 ? 1 : 0)} %`;
}

export const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

export const megapixels = (pixels) => `${(pixels / 1e6).toFixed(1)} megapixels`;

export const seconds = (value) => `${value.toFixed(value < 10 ? 1 : 0)} s`;

/** Return the width and the height of a picture, in pixels. */
export const size = (width, height) => `${width} × ${height}`;

/** Return what the first picture of a scene is for a model that takes two. */
export const firstPicture = (model) => (model.first_input === 'flow' ? 'optical flow picture' : 'first picture');

/** Return a depth in metres. */
export const metres = (value) => `${value.toFixed(value < 99.95 ? 1 : 0)} m`;

/** Return a file's name without its ending. */
export const stem = (name) => name.replace(/\.[^.]*$/, '') || 'picture';
