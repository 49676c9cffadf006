// What the page is doing, and what went wrong.

import { byId } from './dom.js';

/** Tell screen readers a line. */
export function announce(line) {
  byId('announcement').textContent = line;
}

/** Show an error in one line; with `again`, a button calls it. */
export function showError(line, again = null) {
  show(line, again, false);
}

/** Show a line that is no error. */
export function showNotice(line, again) {
  show(line, again, true);
}

function show(line, again, calm) {
  byId('error').classList.toggle('calm', calm);
  byId('error-text').textContent = line;
  byId('retry').hidden = !again;
  byId('retry').onclick = again;
  byId('dismiss').onclick = hideError;
  byId('error').hidden = false;
}

export function hideError() {
  byId('error').hidden = true;
}

/** The progress of one computation after the other. */
export class Progress {
  #timer = 0;
  #said = '';

  /** Show a phase of a computation; `subject` names the picture. */
  show(subject, phase, value) {
    clearInterval(this.#timer);
    byId('progress').hidden = false;
    if (phase === 'sending') {
      this.#bar(100 * value);
      this.#write(`${subject}: sending, ${Math.round(100 * value)} %`);
      this.#say(`${subject}: sending`);
    } else if (phase === 'busy') {
      this.#bar(null);
      this.#write(`${subject}: the server is busy; again in ${value.wait} s (${value.attempt} of ${value.of})`);
      this.#say(`${subject}: the server is busy, waiting`);
    } else {
      this.#bar(null);
      this.#count(`${subject}: ${phase}`);
      this.#say(`${subject}: ${phase}`);
    }
  }

  hide() {
    clearInterval(this.#timer);
    this.#said = '';
    byId('progress').hidden = true;
  }

  #bar(value) {
    if (value === null) byId('bar').removeAttribute('value');
    else byId('bar').value = value;
  }

  #write(line) {
    byId('phase').textContent = line;
  }

  #count(line) {
    const start = performance.now();
    const tick = () => this.#write(`${line}, ${Math.floor((performance.now() - start) / 1000)} s`);
    tick();
    this.#timer = setInterval(tick, 1000);
  }

  /** Announce a phase once, not every percent of it. */
  #say(line) {
    if (line !== this.#said) announce(line);
    this.#said = line;
  }
}
