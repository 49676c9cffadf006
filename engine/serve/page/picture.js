// A chosen picture: its file, its size, how the browser shows it, and where its result stands.

import { declaredSize } from './declared_size.js';
import { isShownAlike } from './shown_alike.js';
import * as words from './words.js';

/**
 * A picture of the queue.
 *
 * state: 'waiting', 'working', 'done', 'failed' or 'cancelled'.
 * shown: whether the browser shows the file as the server reads it.
 * first: the file with the first picture of its scene, for models that take two.
 * answer: the server's, while it is kept; settings: those that it was computed with.
 */
export class Picture {
  constructor(file, name) {
    this.file = file;
    this.name = name;
    this.url = URL.createObjectURL(file);
    this.state = 'waiting';
    this.first = null;
    this.error = this.answer = this.settings = this.original = null;
    this.width = this.height = 0;
    this.opened = this.#open();
  }

  async #open() {
    const image = new Image();
    image.src = this.url;
    const loads = new Promise((resolve) => {
      image.onload = () => resolve(true);
      image.onerror = () => resolve(false);
    });
    this.shown = (await loads) && image.naturalWidth > 0 && (await isShownAlike(this.file, image));
    const declared = this.shown ? null : await declaredSize(this.file);
    this.#take(declared ?? { width: image.naturalWidth, height: image.naturalHeight });
    this.natural = { width: this.width, height: this.height };
  }

  #take({ width, height }) {
    this.width = width;
    this.height = height;
  }

  get pixels() {
    return this.width * this.height;
  }

  /** Return whether there is an image to show. */
  get shows() {
    return this.shown || this.original !== null;
  }

  /** Return the address of an image of the size of the answer. */
  get shownUrl() {
    return this.original ?? this.url;
  }

  /** Return whether the browser shows the file in the size of an answer, that is, turned alike. */
  fits(answer) {
    return this.shown && answer.width === this.natural.width && answer.height === this.natural.height;
  }

  /** Keep an answer; `jpeg` is shown in place of the file, unless it is null. */
  keep(answer, settings, jpeg) {
    this.#show(jpeg);
    this.answer = answer;
    this.settings = settings;
    this.#take(answer);
  }

  #show(jpeg) {
    if (this.original) URL.revokeObjectURL(this.original);
    this.original = jpeg && URL.createObjectURL(jpeg);
  }

  /** Return why the server would refuse the file by its limits, or null. */
  beyond(limits) {
    for (const file of [this.file, ...(this.first ? [this.first] : [])]) {
      if (file.size <= limits.bytes) continue;
      return `${file.name || this.name} has ${words.megabytes(file.size)}; this server takes `
        + `${words.megabytes(limits.bytes)} at most: save it smaller, or start the server with a larger --max-bytes`;
    }
    if (this.pixels > limits.pixels) {
      return `${this.name} has ${words.megapixels(this.pixels)}; this server takes `
        + `${words.megapixels(limits.pixels)} at most: make it smaller, or start the server with a larger --max-pixels`;
    }
    return null;
  }

  release() {
    this.#show(null);
    URL.revokeObjectURL(this.url);
  }
}
