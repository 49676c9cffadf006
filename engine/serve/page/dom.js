// Short ways to find, make and change elements of the page.

/** Return the element with an id. */
export const byId = (id) => document.getElementById(id);

/** Return a new element with properties, and with children: elements or texts. */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Offer bytes as a file to keep. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);   // the browser reads it after the click
}
