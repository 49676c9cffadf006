// One picture from its file to its answer.

import { bytesOf } from './answer.js';
import { scaleFor } from './scale.js';
import { segment, ServerError } from './server.js';

/**
 * Ask the server for the classes of a picture and keep its answer there.
 *
 * options: {model, choice, limits}. onPhase and signal are those of `segment`.
 */
export async function segmentPicture(picture, options, onPhase, signal) {
  await picture.opened;
  const refusal = picture.beyond(options.limits);
  if (refusal) throw new ServerError(refusal);
  const settings = settingsFor(picture, options);
  const ask = (original) => segment(picture.file, { ...settings, original }, onPhase, signal);
  let answer = await ask(!picture.shown);
  // The server may turn a picture otherwise than the browser: its own picture is shown then.
  if (picture.shown && !picture.fits(answer)) answer = await ask(true);
  const { original = null, ...kept } = answer;
  const jpeg = original && new Blob([bytesOf(original)], { type: 'image/jpeg' });
  picture.keep(kept, settings, jpeg);
}

/** Return whether the answer of a picture was computed with other options. */
export function isStale(picture, options) {
  const now = settingsFor(picture, options);
  const then = picture.settings;
  return then !== null && (then.model !== now.model || then.scale !== now.scale);
}

function settingsFor(picture, { model, choice }) {
  return { model: model.name, scale: scaleFor(choice, picture, model) };
}
