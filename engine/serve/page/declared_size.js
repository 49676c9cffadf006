// Sizes that TIFF, JPEG 2000 and PNM files declare, which browsers do not show.

const HEAD = 2 ** 16;   // bytes that are read for formats that begin with their size

/** Return {width, height} of a file, or null where its head does not tell. */
export async function declaredSize(file) {
  const head = new DataView(await file.slice(0, HEAD).arrayBuffer());
  try {
    const mark = text(head, 0, 4);
    if (mark === 'II*\0' || mark === 'MM\0*') return await sizeOfTiff(file, head, mark[0] === 'I');
    if (text(head, 4, 4) === 'jP  ') return sizeOfJpeg2000(head);
    if (/^P[1-6]\s/.test(mark)) return sizeOfPnm(text(head, 0, Math.min(head.byteLength, 1024)));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;   // a file that ends early: the server tells
  }
  return null;
}

const text = (view, start, length) => {
  const end = Math.min(view.byteLength, start + length);
  return end > start ? String.fromCharCode(...new Uint8Array(view.buffer, start, end - start)) : '';
};

async function sizeOfTiff(file, head, little) {
  const start = head.getUint32(4, little);
  const entries = new DataView(await file.slice(start, start + HEAD).arrayBuffer());
  const sizes = {};
  for (let i = 0; i < entries.getUint16(0, little); i++) {
    const at = 2 + 12 * i;
    const tag = entries.getUint16(at, little);
    const short = entries.getUint16(at + 2, little) === 3;
    sizes[tag] = short ? entries.getUint16(at + 8, little) : entries.getUint32(at + 8, little);
  }
  return checked(sizes[256], sizes[257]);
}

function sizeOfJpeg2000(head) {
  const at = text(head, 0, 512).indexOf('ihdr');
  return at < 0 ? null : checked(head.getUint32(at + 8), head.getUint32(at + 4));
}

function sizeOfPnm(start) {
  const numbers = start.slice(2).replace(/#.*/g, '').trim().split(/\s+/);
  return checked(Number(numbers[0]), Number(numbers[1]));
}

const checked = (width, height) => (width > 0 && height > 0 ? { width, height } : null);
