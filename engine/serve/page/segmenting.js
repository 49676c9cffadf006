// One picture from its file to its answer.

import { bytesOf } from './answer.js';
import { scaleFor } from './scale.js';
import { segment, ServerError } from './server.js';
import * as words from './words.js';

/**
 * Ask the server for the classes of a picture and keep its answer there.
 *
 * options: {model, choice, limits}. onPhase and signal are those of `segment`.
 */
export async function segmentPicture(picture, options, onPhase, signal) {
  await picture.opened;
  const first = firstFor(picture, options.model);
  const refusal = picture.beyond(options.limits) ?? lacking(picture, options.model);
  if (refusal) throw new ServerError(refusal);
  const settings = settingsFor(picture, options);
  const ask = (original) => segment(picture.file, first, { ...settings, original }, onPhase, signal);
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
  return then !== null && (then.model !== now.model || then.scale !== now.scale || then.first !== now.first);
}

/** Return the first picture of the scene, for a model that takes two; else null. */
const firstFor = (picture, model) => (model.first_input ? picture.first : null);

/** Return what a scene lacks, or null. */
function lacking(picture, model) {
  if (!model.first_input || picture.first) return null;
  return `${picture.name}: ${model.name} also needs the ${words.firstPicture(model)} of this scene: choose it`;
}

function settingsFor(picture, { model, choice }) {
  return { model: model.name, scale: scaleFor(choice, picture, model), first: firstFor(picture, model) };
}
