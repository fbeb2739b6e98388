/** The photos of the atlas, as the page holds them. */

import { byId } from "./dom.js";

const GRID = 65535;

export class AtlasData {
  #thumbnails = byId("thumbnails").textContent;
  #starts;

  constructor() {
    const { model, places, categories, labels, photos } = JSON.parse(byId("data").textContent);
    const bytes = Uint8Array.from(atob(places), (character) => character.charCodeAt(0));
    const coordinates = new Uint16Array(bytes.buffer);
    Object.assign(this, { model, labels, photos, count: photos.length });
    this.categories = [...categories, "No label"];
    /** x and y of each photo, from 0 to 1, and the index of its category */
    this.x = Float32Array.from(photos, (_, index) => coordinates[2 * index] / GRID);
    this.y = Float32Array.from(photos, (_, index) => coordinates[2 * index + 1] / GRID);
    this.category = Uint16Array.from(photos, ({ tags }) =>
      tags.length ? labels[tags[0]].category : categories.length,
    );
    this.#starts = new Uint32Array(photos.length);
    for (let index = 1; index < photos.length; index += 1) {
      this.#starts[index] = this.#starts[index - 1] + photos[index - 1].thumbnail;
    }
  }

  /** The labels of a photo, best first. */
  labelsOf(index) {
    const { tags } = this.photos[index];
    const places = Array.from({ length: tags.length / 2 }, (_, place) => 2 * place);
    return places.map((place) => ({ ...this.labels[tags[place]], percent: tags[place + 1] }));
  }

  /** The address of the thumbnail of a photo; empty if there is none. */
  thumbnailOf(index) {
    const start = this.#starts[index];
    const size = this.photos[index].thumbnail;
    return size ? `data:image/webp;base64,${this.#thumbnails.slice(start, start + size)}` : "";
  }

  /** Return 1 for each photo whose name, labels or category contain a text, otherwise 0. */
  matches(query) {
    const text = query.trim().toLowerCase();
    const wanted = this.labels.map(({ name, category }) =>
      `${name}\n${this.categories[category]}`.toLowerCase().includes(text),
    );
    return Uint8Array.from(this.photos, ({ id, tags }) => {
      const labelled = tags.some((number, place) => place % 2 === 0 && wanted[number]);
      return labelled || id.toLowerCase().includes(text) ? 1 : 0;
    });
  }
}
