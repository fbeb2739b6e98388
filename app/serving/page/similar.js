/** The tab with the photos that are most similar to the selected one. */

import { ApiError } from "./api.js";
import { bar, byId, element, showWords } from "./dom.js";
import { nextBatch } from "./tagging.js";
import { imagesForm, unusable } from "./uploads.js";

/** Read base64 of little-endian float32. */
export function floats(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

/** The cosine of two embeddings, which have length 1. */
export const cosine = (one, other) => one.reduce((sum, value, index) => sum + value * other[index], 0);

export class SimilarTab {
  #photos;
  #api;
  #limits;
  #busy = false;

  /** The options of the request that this tab sends. */
  fields = [["encoding", "base64"]];

  /**
   * @param {Photos} photos
   * @param {Api} api
   * @param {object} limits of the server
   */
  constructor(photos, api, limits) {
    this.#photos = photos;
    this.#api = api;
    this.#limits = limits;
    byId("compare").addEventListener("click", () => this.#compare());
  }

  /** Photos that the server could tag, and that have no embedding yet. */
  #missing() {
    return this.#photos.all.filter((photo) => photo.state === "done" && !photo.embedding);
  }

  render() {
    const { all, selected } = this.#photos;
    const missing = this.#missing().length;
    byId("compare").hidden = all.length < 2 || missing === 0;
    byId("compare").disabled = this.#busy;
    showWords(byId("similar-status"), this.#status(all, missing));
    const others = selected?.embedding ? all.filter((photo) => photo !== selected && photo.embedding) : [];
    const scored = others.map((photo) => ({ photo, value: cosine(selected.embedding, photo.embedding) }));
    scored.sort((a, b) => b.value - a.value);
    byId("neighbours").replaceChildren(...scored.map((each) => this.#row(each)));
  }

  #status(all, missing) {
    if (this.#busy) return "The server computes embeddings…";
    if (all.length < 2) return "Add another photo to compare it with.";
    const what = missing === 1 ? "1 photo has" : `${missing} photos have`;
    return missing && missing < all.length ? `${what} no embedding yet.` : "";
  }

  #row({ photo, value }) {
    const image = element("img", { src: photo.preview, alt: "", draggable: false });
    const name = element("span", { className: "name" }, photo.name);
    const number = element("span", { className: "number" }, value.toFixed(3));
    const button = element("button", { type: "button", className: "neighbour" }, image, name, bar(value), number);
    button.addEventListener("click", () => this.#photos.select(photo));
    return element("li", {}, button);
  }

  async #compare() {
    this.#busy = true;
    showWords(byId("similar-error"), "");
    this.render();
    try {
      for (let missing; (missing = this.#missing()).length; ) await this.#embed(nextBatch(missing, this.#limits));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      showWords(byId("similar-error"), error.message);
    }
    this.#busy = false;
    this.render();
  }

  async #embed(batch) {
    for (const photo of batch) {
      const words = await unusable(photo.file, this.#limits);
      if (words) throw new ApiError(`${photo.name}: ${words}`);
    }
    const { results } = await this.#api.post("embed", imagesForm(batch, this.fields));
    const failed = results.findIndex((result) => result.status === "error");
    if (failed >= 0) throw new ApiError(`${batch[failed].name}: ${results[failed].error.message}`);
    results.forEach((result, index) => (batch[index].embedding = floats(result.embedding)));
  }
}
