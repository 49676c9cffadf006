// The strip of thumbnails: one for each picture, with its state.

import { byId, make } from './dom.js';

const HEIGHT = 112;   // of a thumbnail, in pixels: twice its size on the page
const STATES = {
  waiting: 'waiting', working: 'in progress', done: 'done', failed: 'failed', cancelled: 'cancelled',
};

export class Strip {
  #items = new Map();   // picture -> {item, button}
  #select;
  #remove;

  constructor(select, remove) {
    this.#select = select;
    this.#remove = remove;
    byId('pictures').addEventListener('keydown', (event) => this.#move(event));
  }

  add(picture) {
    const thumbnail = make('canvas', { width: HEIGHT, height: HEIGHT });
    const button = make('button', { type: 'button', className: 'thumbnail', title: picture.name },
      thumbnail, make('span', { className: 'name' }, picture.name), make('span', { className: 'state' }));
    const remove = make('button', { type: 'button', className: 'remove' }, '✕');
    remove.setAttribute('aria-label', `Remove ${picture.name}`);
    button.addEventListener('click', () => this.#select(picture));
    remove.addEventListener('click', () => this.#remove(picture));
    const item = make('li', {}, button, remove);
    this.#items.set(picture, { item, button });
    byId('pictures').append(item);
    byId('strip').hidden = false;
    this.update(picture);
    picture.opened.then(() => draw(thumbnail, picture.url));
  }

  remove(picture) {
    this.#items.get(picture).item.remove();
    this.#items.delete(picture);
    byId('strip').hidden = this.#items.size === 0;
  }

  update(picture) {
    const { item, button } = this.#items.get(picture);
    item.dataset.state = picture.state;
    if (picture.original) draw(button.querySelector('canvas'), picture.original);
    button.querySelector('.state').textContent = STATES[picture.state];
  }

  /** Mark the selected picture. */
  mark(picture) {
    for (const [other, { button }] of this.#items) {
      button.setAttribute('aria-current', String(other === picture));
    }
    this.#items.get(picture)?.button.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }

  focus(picture) {
    this.#items.get(picture)?.button.focus();
  }

  #move(event) {
    const pictures = [...this.#items.keys()];
    const at = pictures.findIndex((picture) => this.#items.get(picture).item.contains(event.target));
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step && pictures[at + step]) {
      this.#select(pictures[at + step]);
      this.focus(pictures[at + step]);
    } else if (event.key === 'Delete') {
      this.#remove(pictures[at]);
    } else {
      return;
    }
    event.preventDefault();
  }
}

/** Draw the middle of the picture at an address. */
async function draw(canvas, url) {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    return;   // the browser does not show this format, or it is no picture
  }
  const side = Math.min(image.naturalWidth, image.naturalHeight);
  const left = (image.naturalWidth - side) / 2;
  const top = (image.naturalHeight - side) / 2;
  const context = canvas.getContext('2d');
  context.clearRect(0, 0, HEIGHT, HEIGHT);
  context.drawImage(image, left, top, side, side, 0, 0, HEIGHT, HEIGHT);
}
