// Ways in which files come: chosen, photographed, dropped anywhere, pasted.

import { byId } from './dom.js';

// Without a list, phones hand over formats that the server does not read, such as HEIC.
const FORMATS = 'image/jpeg,image/png,image/webp,image/bmp,image/tiff,image/gif,image/avif,image/jp2,'
  + '.jp2,.tif,.tiff,.pnm,.pgm,.ppm,.pbm';
const ENDINGS = /\.(jpe?g|png|webp|bmp|tiff?|gif|avif|jp2|pnm|pgm|ppm|pbm)$/i;

/**
 * Hand over files as they come.
 *
 * take(files): an array, never empty. refuse(line): nothing of use came.
 */
export function listenForFiles(take, refuse) {
  byId('files').accept = FORMATS;
  for (const [button, input] of [['choose', 'files'], ['photograph', 'camera']]) {
    byId(button).addEventListener('click', () => byId(input).click());
    byId(input).addEventListener('change', ({ target }) => {
      if (target.files.length) take([...target.files]);
      target.value = '';   // the same file may be chosen again
    });
  }
  document.addEventListener('paste', (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) take(files);
    else if (!event.target.matches?.('input')) refuse('The clipboard has no picture: copy one, or choose its file');
  });
  listenForDrops(take, refuse);
}

function listenForDrops(take, refuse) {
  const hint = byId('drop-hint');
  let depth = 0;   // elements under the pointer enter and leave in turns
  const enter = (change) => {
    depth = Math.max(0, depth + change);
    hint.hidden = depth === 0;
  };
  window.addEventListener('dragenter', () => enter(1));
  window.addEventListener('dragleave', () => enter(-1));
  window.addEventListener('dragover', (event) => event.preventDefault());
  window.addEventListener('drop', async (event) => {
    event.preventDefault();
    depth = 0;
    hint.hidden = true;
    const files = await filesOf(event.dataTransfer);
    if (files.length) take(files);
    else refuse('No picture file was dropped: save the picture first, then drop its file');
  });
}

/** Return the files of a drop, and those of its folders whose names are names of pictures. */
async function filesOf(transfer) {
  // all entries before the first wait: the list is empty after it
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  if (!entries.some((entry) => entry?.isDirectory)) return [...transfer.files];
  const found = [];
  for (const entry of entries) if (entry) await collect(entry, found, true);
  return found;
}

async function collect(entry, found, named) {
  if (entry.isFile) {
    if (named || ENDINGS.test(entry.name)) found.push(await new Promise((done, fail) => entry.file(done, fail)));
    return;
  }
  for (const inner of await entriesOf(entry)) await collect(inner, found, false);
}

/** Return the entries of a folder by name, with 2 before 10. */
async function entriesOf(folder) {
  const reader = folder.createReader();
  const entries = [];
  for (;;) {   // a reader hands over some entries at a time
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return entries.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
    entries.push(...some);
  }
}
