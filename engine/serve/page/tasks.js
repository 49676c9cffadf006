// The tasks of a result: their choice, and how each is shown, classes or depth.

import { PER_METRE, placeOf, tasksOf } from './answer.js';
import { byId, make } from './dom.js';
import { classTable, confidenceTable, rampTable } from './painting.js';
import * as words from './words.js';

const CLOSE = 0.09;   // share of the bar's length that keeps two marks apart
const KNOWN = Uint8Array.from({ length: 256 }, (_, index) => Number(index > 0));

export class Tasks {
  #name = null;   // of the chosen task; it stays from picture to picture
  #changed;
  #offered = [];

  /** changed(): another task is chosen. */
  constructor(changed) {
    this.#changed = changed;
    byId('tasks').addEventListener('change', ({ target }) => {
      this.#name = target.value;
      this.#changed();
    });
  }

  /** Return the task of an answer to show: the chosen one, else the first one with classes. */
  of(answer) {
    const tasks = tasksOf(answer);
    return tasks.find(({ name }) => name === this.#name)
      ?? tasks.find(({ kind }) => kind === 'classes') ?? tasks[0];
  }

  /** Offer the tasks of an answer, and show what belongs to the kind of the chosen one. */
  list(answer, task) {
    const names = answer ? tasksOf(answer).map(({ name }) => name) : [];
    byId('tasks').hidden = names.length < 2;
    if (names.join() !== this.#offered.join()) {
      byId('tasks').replaceChildren(byId('tasks').querySelector('legend'), ...names.map(choice));
      this.#offered = names;
    }
    for (const input of byId('tasks').querySelectorAll('input')) input.checked = input.value === task?.name;
    const depth = task?.kind === 'depth';
    for (const id of ['depth-card', 'depth-scale', 'save-depth', 'save-colours']) byId(id).hidden = !depth;
    for (const id of ['classes-card', 'confidence-choice', 'save-labels', 'save-palette']) byId(id).hidden = depth;
    byId('views').classList.toggle('narrow-only', depth);   // beside the original, there is no choice
    if (depth) describeDepth(task);
  }
}

function choice(name) {
  return make('label', {}, make('input', { type: 'radio', name: 'task', value: name }), make('span', {}, name));
}

/** Write the depths of a task, and draw the bar of its colours from near to far. */
function describeDepth({ name, median, low, high, colours, pixels }) {
  byId('depth-title').textContent = name === 'depth' ? 'Depth' : `Depth: ${name}`;
  byId('depths').replaceChildren(...Object.entries({
    Median: words.metres(median), '90 % of the pixels': `${words.metres(low).slice(0, -2)} to ${words.metres(high)}`,
  }).flatMap(([term, value]) => [make('dt', {}, term), make('dd', {}, value)]));
  const context = byId('depth-ramp').getContext('2d');
  const row = new ImageData(new Uint8ClampedArray(rampTable([...pixels.ramp].reverse()).buffer), 256, 1);
  context.putImageData(row, 0, 0);
  let last = -1;
  const marks = [];
  for (const metres of colours.marks) {
    const place = 1 - placeOf(metres, colours);
    if (place - last < CLOSE) continue;
    last = place;
    const mark = make('span', {}, `${Number(metres.toPrecision(3))} m`);
    mark.style.left = `${100 * place}%`;
    marks.push(mark);
  }
  byId('depth-marks').replaceChildren(...marks);
  byId('depth-scale').setAttribute('aria-label',
    `Colours of the depth, from ${words.metres(colours.near)}, red, to ${words.metres(colours.far)}, blue`);
}

/** Return what is painted for a task: {values, table, shown}; kind is that of the view. */
export function layerOf(task, pixels, kind, shownClasses) {
  if (task.kind === 'depth') return { values: pixels.levels, table: rampTable(task.pixels.ramp), shown: KNOWN };
  const [values, table] = kind === 'confidence' ? [pixels.confidence, confidenceTable()]
    : [pixels.labels, classTable(task.classes)];
  return { values, table, shown: shownClasses };
}

/** Return what stands at a pixel: {index, name, colour, sure}; null without a result there. */
export function foundAt(task, pixels, at) {
  if (task.kind === 'classes') {
    const index = pixels.labels[at];
    const found = task.classes.find((one) => one.index === index);
    return found && { ...found, sure: words.percent(pixels.confidence[at] / 255) };
  }
  const value = pixels.values[at];
  if (!value) return { index: null, name: 'unknown depth', colour: '', sure: '' };
  return { index: null, name: words.metres(value / PER_METRE), colour: task.pixels.ramp[pixels.levels[at]], sure: '' };
}
