// The chosen pictures and their computation, one after the other.

import { Cancelled, ServerError } from './server.js';

export class Queue {
  #work;
  #changed;
  #running = null;   // {picture, controller}

  /**
   * work(picture, signal): computes a picture's answer and keeps it there.
   * changed(picture): the state of a picture changed.
   */
  constructor(work, changed) {
    this.pictures = [];
    this.preferred = null;   // the picture that is computed first, if it waits
    this.#work = work;
    this.#changed = changed;
  }

  get running() {
    return this.#running?.picture ?? null;
  }

  get waiting() {
    return this.pictures.filter((picture) => picture.state === 'waiting');
  }

  add(pictures) {
    this.pictures.push(...pictures);
    this.#next();
  }

  remove(picture) {
    this.pictures = this.pictures.filter((other) => other !== picture);
    if (this.running === picture) this.#running.controller.abort();
    picture.release();
  }

  /** Compute a picture again; a running computation of it is given up. */
  again(picture) {
    if (this.running === picture) this.#running.controller.abort();
    this.#set(picture, 'waiting');
    this.#next();
  }

  /** Compute what was cancelled, too. */
  resume() {
    for (const picture of this.pictures) {
      if (picture.state === 'cancelled') this.#set(picture, 'waiting');
    }
    this.#next();
  }

  /** Give up the running computation and those that wait. */
  cancel() {
    for (const picture of this.waiting) this.#set(picture, 'cancelled');
    this.#running?.controller.abort();
  }

  async #next() {
    if (this.#running) return;
    const { waiting } = this;
    const picture = waiting.find((one) => one === this.preferred) ?? waiting[0];
    if (!picture) return;
    const controller = new AbortController();
    this.#running = { picture, controller };
    this.#set(picture, 'working');
    let state = 'done';
    try {
      await this.#work(picture, controller.signal);
    } catch (error) {
      state = this.#fail(picture, error);
    }
    this.#running = null;
    // one that waits again was given up for other settings
    if (picture.state === 'working') this.#set(picture, state);
    this.#next();
  }

  /** Note why a computation ended; return the state of its picture. */
  #fail(picture, error) {
    if (error instanceof Cancelled) return 'cancelled';
    picture.error = error instanceof ServerError ? error.message
      : `${picture.name}: the page failed (${error.message}); reload it, then try again`;
    if (!(error instanceof ServerError)) console.error(error);
    if (error.gone) this.cancel();   // the others would fail as well
    return 'failed';
  }

  #set(picture, state) {
    picture.state = state;
    if (state !== 'failed') picture.error = null;
    this.#changed(picture);
  }
}
