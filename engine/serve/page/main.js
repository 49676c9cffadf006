// The page: what happens between its parts.

import { pixelsOf } from './answer.js';
import { byId } from './dom.js';
import * as downloads from './downloads.js';
import { listenForFiles } from './intake.js';
import { Legend } from './legend.js';
import { Options } from './options.js';
import { classTable, confidenceTable, paint } from './painting.js';
import { Picture } from './picture.js';
import { Queue } from './queue.js';
import { describeScale } from './scale.js';
import { isStale, segmentPicture } from './segmenting.js';
import { announce, hideError, Progress, showError, showNotice } from './status.js';
import { Strip } from './strip.js';
import { Viewer } from './viewer.js';
import * as words from './words.js';

const HINT = 'Point at a picture to see the class there.';
const PAUSE = 250;   // ms without a key before the crosshair's pixel is announced

const opacities = { overlay: 0.5, confidence: 1 };
let selected = null;
let pixels = null;   // those of the selected picture, when it has an answer
let pixelTimer = 0;

const progress = new Progress();
const strip = new Strip(select, remove);
const viewer = new Viewer(readOut);
const legend = new Legend(repaint);
const options = new Options(() => {
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
  document.body.classList.add('started');
  queue.preferred = pictures[0];
  queue.add(pictures);
  select(pictures[0]);
}

function select(picture) {
  selected = queue.preferred = picture;
  strip.mark(picture);
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
  pixels = null;
  await picture?.opened;
  if (picture?.answer) pixels = await pixelsOf(picture.answer).catch(() => null);
  if (picture !== selected) return;   // another one was selected meanwhile
  byId('result').hidden = !picture || !(picture.answer || picture.shows || picture.state === 'working');
  if (picture?.state === 'failed') showError(picture.error, retry);
  else if (picture?.state === 'cancelled') showNotice(`${picture.name}: cancelled`, retry);
  else if (picture?.answer && !pixels) showError('The answer of the server is damaged: try again', retry);
  if (!picture) return;
  viewer.show(picture, picture.name);
  describe(picture);
  legend.list(picture.answer?.classes ?? []);
  for (const button of document.querySelectorAll('.downloads button')) button.disabled = !pixels;
  repaint();
}

function describe({ name, answer, state }) {
  byId('caption').textContent = name;
  if (!answer) {
    byId('facts').textContent = state === 'failed' ? 'no result' : 'no result yet';
    return;
  }
  byId('facts').textContent = [
    answer.model, words.size(answer.width, answer.height), describeScale(answer),
    words.seconds(answer.seconds), `mean confidence ${words.percent(answer.confidence)}`,
  ].join(' · ');
  const [first] = answer.classes;
  if (state === 'done') {
    announce(`${name}: done, ${answer.classes.length} classes; the largest is ${first.name}, ${words.percent(first.share)}`);
  }
}

/** Return what lies over the original: {kind, pixels, values, table, shown, opacity}. */
function seen() {
  const kind = view();
  const [values, table] = kind === 'confidence' ? [pixels.confidence, confidenceTable()]
    : [pixels.labels, classTable(selected.answer.classes)];
  return { kind, pixels, values, table, shown: legend.shown, opacity: opacities[kind] };
}

const view = () => (document.body.dataset.view === 'confidence' ? 'confidence' : 'overlay');

function repaint() {
  const canvas = byId('canvas');
  canvas.hidden = !pixels;
  if (!pixels) return;
  const { values, table, shown, opacity } = seen();
  canvas.style.opacity = opacity;
  paint(canvas, pixels, values, table, shown);
}

/** Write the class under the crosshair. */
function readOut(pixel, byKey) {
  clearTimeout(pixelTimer);
  const at = pixel && pixels ? pixel.y * pixels.width + pixel.x : -1;
  const index = at < 0 ? null : pixels.labels[at];
  const found = selected?.answer?.classes.find((one) => one.index === index);
  byId('readout').classList.toggle('note', !found);
  byId('pixel-swatch').hidden = !found;
  byId('pixel-swatch').style.background = found?.colour ?? '';
  byId('pixel-class').textContent = found?.name ?? HINT;
  byId('pixel-confidence').textContent = found ? words.percent(pixels.confidence[at] / 255) : '';
  byId('pixel-place').textContent = pixel && found ? `x ${pixel.x}, y ${pixel.y}` : '';
  legend.mark(index);
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
  byId('confidence-scale').hidden = !confidence;
  byId('opacity').value = 100 * opacities[view()];
  setOpacity();
  repaint();
}

function setOpacity() {
  const value = byId('opacity').valueAsNumber;
  opacities[view()] = value / 100;
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
byId('save-labels').addEventListener('click', () => downloads.savePng(selected, 'labels'));
byId('save-palette').addEventListener('click', () => downloads.savePng(selected, 'palette'));
byId('save-json').addEventListener('click', () => downloads.saveJson(selected));
listenForFiles(add, showError);
start();
