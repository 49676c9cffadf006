// The choice of the model and of the scale.

import { byId, make } from './dom.js';
import { models } from './server.js';

export class Options {
  #catalogue = null;   // the promise of GET /models

  /** changed(): another model or scale is chosen. */
  constructor(changed) {
    byId('model').addEventListener('change', () => {
      this.#describe();
      changed();
    });
    byId('scale').addEventListener('change', () => {
      byId('own-scale').hidden = byId('scale').value !== 'own';
      if (byId('own-scale').reportValidity()) changed();
    });
    byId('own-scale').addEventListener('change', () => {
      if (byId('own-scale').reportValidity()) changed();
    });
  }

  /** Read the server's models once; after a failure, the next call asks again. */
  async load() {
    this.#catalogue ??= models();
    try {
      const catalogue = await this.#catalogue;
      if (!this.limits) this.#fill(catalogue);
    } catch (error) {
      this.#catalogue = null;
      throw error;
    }
    return this;
  }

  #fill(catalogue) {
    this.models = catalogue.models;
    this.limits = catalogue.limits;
    byId('model').replaceChildren(...this.models.map(({ name }) => make('option', { value: name }, name)));
    byId('model').value = catalogue.default;
    byId('model').disabled = false;
    this.#describe();
  }

  /** Return the entry of the chosen model. */
  get model() {
    return this.named(byId('model').value);
  }

  named(name) {
    return this.models.find((model) => model.name === name);
  }

  /** Return the chosen scale: 'auto' or a number. */
  get choice() {
    const { value } = byId('scale');
    if (value === 'auto' || (value === 'own' && !byId('own-scale').checkValidity())) return 'auto';
    return Number(value === 'own' ? byId('own-scale').value : value);
  }

  #describe() {
    const { network, weights, tasks, scalable, resizes } = this.model;
    const given = tasks.map(({ name, kind, classes: own }) => (
      kind === 'depth' ? name : `${tasks.length > 1 ? `${name} of ` : ''}${own.length} classes`));
    byId('model-note').textContent = `${network}, ${given.join(', ')}, weights ${weights}`;
    for (const id of ['scale', 'own-scale']) byId(id).disabled = !scalable;
    const automatic = resizes ? 'this model resizes pictures itself' : 'at 1 megapixel at most';
    const faster = scalable ? ' Smaller is faster.' : '';
    byId('scale-note').textContent = `Automatically: ${automatic}.${faster} The result always has the size of the picture.`;
  }
}
