// The legend: classes that occur, by share; each can be hidden.

import { byId, make } from './dom.js';
import * as words from './words.js';

export class Legend {
  #rows = new Map();   // class index -> {item, toggle}
  #hidden = new Set();   // class indices; they stay hidden from picture to picture
  #changed;

  /** changed(): other classes are shown than before. */
  constructor(changed) {
    this.#changed = changed;
    byId('all-classes').addEventListener('click', () => this.#hide([]));
    byId('legend').addEventListener('keydown', (event) => this.#move(event));
  }

  /** Return 256 flags: whether a class is shown. */
  get shown() {
    return Uint8Array.from({ length: 256 }, (_, index) => Number(!this.#hidden.has(index)));
  }

  /** Show all classes, as those of another model are others. */
  reset() {
    this.#hidden.clear();
  }

  /** List the classes of an answer, the largest first. */
  list(classes) {
    this.#rows.clear();
    const sorted = [...classes].sort((a, b) => b.pixels - a.pixels);
    const none = make('li', { className: 'note' }, 'None yet.');
    byId('legend').replaceChildren(...(sorted.length ? sorted.map((one) => this.#row(one)) : [none]));
    this.#refresh();
  }

  /** Mark the class under the crosshair. */
  mark(index) {
    for (const [other, { item }] of this.#rows) item.classList.toggle('marked', other === index);
  }

  #row({ index, name, colour, share, confidence }) {
    const swatch = make('span', { className: 'swatch' });
    swatch.style.background = colour;
    const toggle = make('button', { type: 'button', className: 'class' }, swatch,
      make('span', { className: 'name' }, name), make('span', { className: 'share' }, words.percent(share)));
    toggle.style.setProperty('--share', share);
    toggle.style.setProperty('--colour', colour);
    toggle.title = `${name}: mean confidence ${words.percent(confidence)}`;
    const only = make('button', { type: 'button', className: 'quiet only' }, 'only');
    only.setAttribute('aria-label', `Only ${name}`);
    toggle.addEventListener('click', () => this.#toggle(index));
    only.addEventListener('click', () => this.#hide([...Array(256).keys()].filter((other) => other !== index)));
    const item = make('li', {}, toggle, only);
    this.#rows.set(index, { item, toggle });
    return item;
  }

  #toggle(index) {
    const kept = [...this.#hidden].filter((other) => other !== index);
    this.#hide(this.#hidden.has(index) ? kept : [...kept, index]);
  }

  #hide(indices) {
    this.#hidden = new Set(indices);
    this.#refresh();
    this.#changed();
  }

  #refresh() {
    for (const [index, { toggle }] of this.#rows) {
      toggle.setAttribute('aria-pressed', String(!this.#hidden.has(index)));
    }
  }

  /** Arrows go from row to row. */
  #move(event) {
    const step = { ArrowDown: 'nextElementSibling', ArrowUp: 'previousElementSibling' }[event.key];
    if (!step) return;
    event.preventDefault();
    const kind = event.target.classList.contains('only') ? '.only' : '.class';
    event.target.closest('li')[step]?.querySelector(kind).focus();
  }
}
