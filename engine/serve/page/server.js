// Requests to the server: its models, and the segmentation of one file.

const RETRIES = 5;

/** An error whose message is one line for the user; gone: the server did not answer at all. */
export class ServerError extends Error {
  constructor(message, gone = false) {
    super(message);
    this.gone = gone;
  }
}

export class Cancelled extends Error {}

const address = (path) => new URL(path, document.baseURI);

const gone = () => new ServerError(
  `The server at ${location.host} does not answer: see whether it still runs, then try again`, true);

/** Return the answer of GET /models. */
export async function models() {
  let response;
  try {
    response = await fetch(address('models'));
  } catch {
    throw gone();
  }
  if (!response.ok) throw new ServerError(await refusalOf(response.status, await response.text()));
  return response.json();
}

/**
 * Segment a file, or with `first`, a scene of two; a busy server is asked again after the time that it names.
 *
 * settings: {model, scale, original}; a scale of null is the model's own.
 * onPhase(phase, value): 'sending' with a share of 0..1, 'computing', 'busy' with {wait, attempt}.
 * signal: an AbortSignal; throws Cancelled when it fires, else ServerError.
 */
export async function segment(file, first, settings, onPhase, signal) {
  for (let attempt = 1; ; attempt++) {
    const reply = await send(file, first, query(settings), onPhase, signal);
    if (reply.status === 200 && reply.answer) return reply.answer;
    if (reply.status !== 503 || reply.retryAfter === null || attempt > RETRIES) {
      throw new ServerError(refusalOf(reply.status, reply.text));
    }
    onPhase('busy', { wait: reply.retryAfter, attempt, of: RETRIES });
    await pause(reply.retryAfter, signal);
  }
}

function query({ model, scale, original }) {
  const parameters = new URLSearchParams({ model, output: 'json' });
  for (const part of ['pixels', 'pictures', ...(original ? ['original'] : [])]) {
    parameters.append('include', part);
  }
  if (scale !== null) parameters.set('scale', scale);
  return parameters;
}

/** Post the files; XMLHttpRequest tells how much of it is sent, which fetch does not. */
function send(file, first, parameters, onPhase, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(new Cancelled());
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open('POST', address(`segment?${parameters}`));
    request.upload.onprogress = (event) => onPhase('sending', event.loaded / (event.total || 1));
    request.upload.onload = () => onPhase('computing');
    request.onload = () => resolve({
      status: request.status,
      retryAfter: wait(request.getResponseHeader('Retry-After')),
      text: request.responseText,
      answer: parsed(request.responseText),
    });
    request.onerror = () => reject(gone());
    request.onabort = () => reject(new Cancelled());
    request.onloadend = () => signal.removeEventListener('abort', abort);
    signal.addEventListener('abort', abort);
    onPhase('sending', 0);
    const form = new FormData();
    if (first) form.append('first_input', first, first.name);
    form.append('image', file, file.name);
    request.send(form);
    return undefined;
  });
}

const wait = (header) => (/^\d+$/.test(header ?? '') ? Math.max(1, Number(header)) : null);

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusalOf(status, text) {
  const line = parsed(text)?.error;
  if (line) return line;
  return status === 200
    ? 'The answer of the server is not complete: try again'
    : `The server, or one before it, answered with status ${status}: try again, or ask who runs it`;
}

function pause(time, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * time);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(new Cancelled());
    }, { once: true });
  });
}
