// The original and what lies over it, with one crosshair on both.

import { byId } from './dom.js';

const STEPS = 50;   // of the arrow keys across the longer side
const LONG = 7;   // ratio of sides beyond which a picture may have to be scrolled
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Viewer {
  #stages = [byId('original-stage'), byId('segmented-stage')];
  #pointed;
  #size = null;   // {width, height} of the picture, when it is known
  #pixel = null;   // the crosshair's {x, y}, or null

  /** pointed(pixel, byKey): the crosshair moved, or left with null. */
  constructor(pointed) {
    this.#pointed = pointed;
    for (const stage of this.#stages) {
      stage.addEventListener('pointermove', (event) => this.#follow(stage, event));
      stage.addEventListener('pointerdown', (event) => this.#follow(stage, event));
      stage.addEventListener('pointerleave', (event) => {
        if (event.pointerType === 'mouse') this.point(null);
      });
      stage.addEventListener('keydown', (event) => this.#step(event));
      stage.addEventListener('focus', () => {
        if (!this.#pixel && stage.matches(':focus-visible')) this.#stepTo(this.#middle());
      });
    }
  }

  /** Show a picture; null shows none. */
  show(picture, name) {
    this.#size = picture?.width ? { width: picture.width, height: picture.height } : null;
    const { width, height } = this.#size ?? { width: 4, height: 3 };
    for (const stage of this.#stages) {
      stage.style.setProperty('--ratio', width / height);
      stage.classList.toggle('long', Math.max(width / height, height / width) > LONG);
      const image = stage.querySelector('img');
      const url = picture?.shownUrl ?? '';
      image.hidden = !url || !picture.shows;
      if (!image.hidden && image.src !== url) image.src = url;
      if (image.hidden) image.removeAttribute('src');
    }
    this.#stages[0].setAttribute('aria-label', `Original of ${name}`);
    this.#stages[1].setAttribute('aria-label', `Segmented ${name}`);
    this.point(null);
  }

  /** Put the crosshair on a pixel; null takes it away. */
  point(pixel, byKey = false) {
    this.#pixel = pixel;
    for (const stage of this.#stages) {
      const cross = stage.querySelector('.crosshair');
      cross.classList.toggle('on', pixel !== null);
      if (!pixel) continue;
      cross.style.left = `${(100 * (pixel.x + 0.5)) / this.#size.width}%`;
      cross.style.top = `${(100 * (pixel.y + 0.5)) / this.#size.height}%`;
      if (byKey) cross.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    }
    this.#pointed(pixel, byKey);
  }

  #follow(stage, event) {
    if (!this.#size) return;
    const box = stage.getBoundingClientRect();
    this.point(this.#inside(
      Math.floor(((event.clientX - box.left) / box.width) * this.#size.width),
      Math.floor(((event.clientY - box.top) / box.height) * this.#size.height)));
  }

  #step(event) {
    const arrow = ARROWS[event.key];
    if (!arrow || !this.#size || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const { width, height } = this.#size;
    const length = event.shiftKey ? 1 : Math.max(1, Math.round(Math.max(width, height) / STEPS));
    const from = this.#pixel ?? this.#middle();
    this.#stepTo(this.#inside(from.x + length * arrow[0], from.y + length * arrow[1]));
  }

  #stepTo(pixel) {
    if (pixel) this.point(pixel, true);
  }

  #middle() {
    return this.#size && { x: this.#size.width >> 1, y: this.#size.height >> 1 };
  }

  #inside(x, y) {
    const within = (value, length) => Math.min(length - 1, Math.max(0, value));
    return { x: within(x, this.#size.width), y: within(y, this.#size.height) };
  }
}
