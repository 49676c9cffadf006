// The first pictures of scenes, for models that take two: optical flow, or the frame before.

import { byId } from './dom.js';
import * as words from './words.js';

export class FirstPictures {
  #waiting = [];   // files that came before their image
  #chosen;

  /** chosen(files): the user chose first pictures. */
  constructor(chosen) {
    this.#chosen = chosen;
    byId('choose-first').addEventListener('click', () => byId('first-files').click());
    byId('first-files').addEventListener('change', ({ target }) => {
      if (target.files.length) this.#chosen([...target.files]);
      target.value = '';   // the same file may be chosen again
    });
  }

  /** Ask for the first picture if a model needs it; `picture` is the selected one, or null. */
  ask(model, picture) {
    const needed = Boolean(model?.first_input);
    byId('first-intake').hidden = !needed;
    if (!needed) return;
    byId('first-files').accept = model.first_input === 'flow' ? 'image/png' : byId('files').accept;
    byId('choose-first').textContent = `Choose the ${words.firstPicture(model)}`;
    byId('first-note').textContent = model.first_input === 'flow'
      ? 'This model needs two pictures of a scene: the image, and its optical flow.'
      : 'This model needs two pictures of a scene: the image, and the one before it.';
    const file = picture ? picture.first : this.#waiting[0];
    byId('first-name').textContent = file ? `${file.name}${picture ? ` for ${picture.name}` : ''}` : '';
  }

  /**
   * Give files to pictures and return the pictures that got one.
   *
   * A single file belongs to the selected picture, several to the pictures of the same names. Files
   * that fit none wait for a picture to come.
   */
  give(files, pictures, selected) {
    if (files.length === 1 && selected) return [take(selected, files[0])];
    const got = [];
    for (const file of files) {
      const picture = pictures.find(({ name }) => words.stem(name) === words.stem(file.name));
      if (picture) got.push(take(picture, file));
      else this.#waiting.push(file);
    }
    return got;
  }

  /** Give waiting files to new pictures: by name, or the only file to the first picture. */
  expect(pictures) {
    const files = this.#waiting;
    this.#waiting = [];
    this.give(files, pictures, pictures[0]);
  }
}

function take(picture, file) {
  picture.first = file;
  return picture;
}
