// The page: what happens between its parts.

import { pixelsOf } from './answer.js';
import { byId } from './dom.js';
import * as downloads from './downloads.js';
import { FirstPictures } from './first_pictures.js';
import { listenForFiles } from './intake.js';
import { Legend } from './legend.js';
import { Options } from './options.js';
import { paint } from './painting.js';
import { Picture } from './picture.js';
import { Queue } from './queue.js';
import { describeScale } from './scale.js';
import { isStale, segmentPicture } from './segmenting.js';
import { announce, hideError, Progress, showError, showNotice } from './status.js';
import { Strip } from './strip.js';
import { foundAt, layerOf, Tasks } from './tasks.js';
import { Viewer } from './viewer.js';
import * as words from './words.js';

const HINTS = {
  classes: 'Point at a picture to see the class there.', depth: 'Point at a picture to see the depth there.',
};
const PAUSE = 250;   // ms without a key before the crosshair's pixel is announced

const opacities = { overlay: 0.5, confidence: 1, depth: 1 };
let selected = null;
let task = null;   // the chosen one of the selected picture, when it has an answer
let pixels = null;   // those of the task
let pixelTimer = 0;

const progress = new Progress();
const strip = new Strip(select, remove);
const viewer = new Viewer(readOut);
const legend = new Legend(repaint);
const tasks = new Tasks(show);
const firstPictures = new FirstPictures((files) => {
  for (const picture of firstPictures.give(files, queue.pictures, selected)) queue.again(picture);
  firstPictures.ask(options.model, selected);
});
const options = new Options(() => {
  firstPictures.ask(options.model, selected);
  if (selected) queue.again(selected);
});
const queue = new Queue(async (picture, signal) => {
  const place = queue.pictures.indexOf(picture) + 1;
  const subject = queue.pictures.length > 1 ? `${picture.name} (${place} of ${queue.pictures.length})` : picture.name;
  await options.load();
  const { loaded } = options.model;
  await segmentPicture(picture, options, (phase, value) => {
    progress.show(subject, phase === 'computing' && !loaded ? 'loading the model and computing' : phase, value);
  }, signal);
  options.named(picture.answer.model).loaded = true;
}, (picture) => {
  if (!queue.running) progress.hide();
  if (!queue.pictures.includes(picture)) return;   // it was removed meanwhile
  strip.update(picture);
  if (picture.state === 'failed') announce(picture.error);
  if (picture.state === 'done' && picture !== selected) announce(`${picture.name}: done`);
  if (picture === selected && picture.state !== 'working') show();
});

function add(files) {
  const pictures = files.map((file) => new Picture(file, file.name || 'picture'));
  pictures.forEach((picture) => strip.add(picture));
  firstPictures.expect(pictures);
  document.body.classList.add('started');
  queue.preferred = pictures[0];
  queue.add(pictures);
  select(pictures[0]);
}

function select(picture) {
  selected = queue.preferred = picture;
  strip.mark(picture);
  if (options.models) firstPictures.ask(options.model, picture);
  if (picture?.state === 'done' && isStale(picture, options)) queue.again(picture);
  else show();
}

function remove(picture) {
  const at = queue.pictures.indexOf(picture);
  queue.remove(picture);
  strip.remove(picture);
  const next = queue.pictures[Math.min(at, queue.pictures.length - 1)] ?? null;
  if (picture === selected) select(next);
  if (next) strip.focus(next);
  else byId('choose').focus();
  if (!queue.running) progress.hide();
}

function retry() {
  queue.again(selected);
  queue.resume();
}

/** Show the selected picture and as much of its result as there is. */
async function show() {
  const picture = selected;
  hideError();
  task = pixels = null;
  await picture?.opened;
  const wanted = picture?.answer ? tasks.of(picture.answer) : null;
  const found = wanted && await pixelsOf(picture.answer, wanted).catch(() => null);
  if (picture !== selected) return;   // another one was selected meanwhile
  if (wanted && wanted.name !== tasks.of(picture.answer).name) return;   // another task, too
  [task, pixels] = [wanted, found];
  byId('result').hidden = !picture || !(picture.answer || picture.shows || picture.state === 'working');
  if (picture?.state === 'failed') showError(picture.error, retry);
  else if (picture?.state === 'cancelled') showNotice(`${picture.name}: cancelled`, retry);
  else if (picture?.answer && !pixels) showError('The answer of the server is damaged: try again', retry);
  if (!picture) return;
  viewer.show(picture, picture.name);
  describe(picture);
  tasks.list(picture.answer, task);
  legend.list(task?.classes ?? []);
  for (const button of document.querySelectorAll('.downloads button')) button.disabled = !pixels;
  if (task?.kind === 'depth' && document.body.dataset.view === 'confidence') {
    document.querySelector('#views [value="overlay"]').checked = true;
    document.body.dataset.view = 'overlay';
  }
  setView(document.body.dataset.view);
}

function describe({ name, answer, state }) {
  byId('caption').textContent = name;
  if (!answer) {
    byId('facts').textContent = state === 'failed' ? 'no result' : 'no result yet';
    return;
  }
  byId('facts').textContent = [
    answer.model, words.size(answer.width, answer.height), describeScale(answer),
    words.seconds(answer.seconds),
    task.kind === 'depth' ? `median depth ${words.metres(task.median)}` : `mean confidence ${words.percent(task.confidence)}`,
  ].join(' · ');
  if (state !== 'done') return;
  if (task.kind === 'depth') {
    announce(`${name}: done, depth; the median is ${words.metres(task.median)}`);
    return;
  }
  const [first] = task.classes;
  announce(`${name}: done, ${task.classes.length} classes; the largest is ${first.name}, ${words.percent(first.share)}`);
}

/** Return what lies over the original: {task, kind, pixels, values, table, shown, opacity}. */
function seen() {
  const kind = view();
  return { task, kind, pixels, ...layerOf(task, pixels, kind, legend.shown), opacity: opacities[layer()] };
}

const view = () => (document.body.dataset.view === 'confidence' && task?.kind !== 'depth' ? 'confidence' : 'overlay');

/** Return what lies over the original, each with an opacity of its own. */
const layer = () => (task?.kind === 'depth' ? 'depth' : view());

function repaint() {
  const canvas = byId('canvas');
  canvas.hidden = !pixels;
  if (!pixels) return;
  const { values, table, shown, opacity } = seen();
  canvas.style.opacity = opacity;
  paint(canvas, pixels, values, table, shown);
}

/** Write the class, or the depth, under the crosshair. */
function readOut(pixel, byKey) {
  clearTimeout(pixelTimer);
  const at = pixel && pixels ? pixel.y * pixels.width + pixel.x : -1;
  const found = at < 0 ? null : foundAt(task, pixels, at);
  byId('readout').classList.toggle('note', !found);
  byId('pixel-swatch').hidden = !found;
  byId('pixel-swatch').style.background = found?.colour ?? '';
  byId('pixel-class').textContent = found?.name ?? HINTS[task?.kind ?? 'classes'];
  byId('pixel-confidence').textContent = found?.sure ?? '';
  byId('pixel-place').textContent = pixel && found ? `x ${pixel.x}, y ${pixel.y}` : '';
  legend.mark(found?.index ?? null);
  if (byKey && found) {
    pixelTimer = setTimeout(() => {
      byId('pixel-announcement').textContent = byId('readout').innerText;
    }, PAUSE);
  }
}

function setView(name) {
  document.body.dataset.view = name;
  const confidence = view() === 'confidence';
  byId('segmented-caption').textContent = byId('save-overlay').textContent = confidence ? 'Confidence' : 'Overlay';
  if (task?.kind === 'depth') byId('segmented-caption').textContent = 'Depth';
  byId('confidence-scale').hidden = !confidence;
  byId('opacity').value = 100 * opacities[layer()];
  setOpacity();
  repaint();
}

function setOpacity() {
  const value = byId('opacity').valueAsNumber;
  opacities[layer()] = value / 100;
  byId('opacity-value').textContent = `${value} %`;
  byId('canvas').style.opacity = value / 100;
}

async function saveSeen() {
  try {
    await downloads.saveSeen(selected, seen());
  } catch (error) {
    showError(error.message);
  }
}

async function start() {
  hideError();
  try {
    await options.load();
    firstPictures.ask(options.model, selected);
  } catch (error) {
    showError(error.message, start);
  }
}

byId('host').textContent = location.host;
byId('views').addEventListener('change', (event) => setView(event.target.value));
byId('opacity').addEventListener('input', setOpacity);
byId('cancel').addEventListener('click', () => queue.cancel());
byId('clear').addEventListener('click', () => [...queue.pictures].forEach(remove));
byId('model').addEventListener('change', () => legend.reset());
byId('save-overlay').addEventListener('click', saveSeen);
for (const [id, kind] of Object.entries({
  'save-labels': 'labels', 'save-palette': 'palette', 'save-depth': 'depth', 'save-colours': 'overlay',
})) byId(id).addEventListener('click', () => downloads.savePng(selected, task, kind));
byId('save-json').addEventListener('click', () => downloads.saveJson(selected));
listenForFiles(add, showError);
start();
