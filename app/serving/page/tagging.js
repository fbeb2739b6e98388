/** Sends new photos to /predict, a few in a request, so that the first results come soon. */

import { ApiError } from "./api.js";
import { imagesForm, unusable } from "./uploads.js";

const PHOTOS_PER_REQUEST = 8;
const FORM_BYTES = 64 * 1024; // at most, besides the photos of a request

/**
 * Select the photos of the next request.
 * @param {object[]} waiting photos, at least one
 * @param {object} limits of the server
 */
export function nextBatch(waiting, limits) {
  const most = Math.min(PHOTOS_PER_REQUEST, limits.max_images_per_request);
  const batch = [];
  let bytes = FORM_BYTES;
  for (const photo of waiting.slice(0, most)) {
    bytes += photo.file.size;
    if (batch.length && bytes > limits.max_request_bytes) break;
    batch.push(photo);
  }
  return batch;
}

export class Tagging {
  #photos;
  #api;
  #limits;
  #onModel;
  #running = false;

  /**
   * @param {Photos} photos
   * @param {Api} api
   * @param {object} limits of the server
   * @param {(model: object) => void} onModel called with the checkpoint of each response
   */
  constructor(photos, api, limits, onModel) {
    this.#photos = photos;
    this.#api = api;
    this.#limits = limits;
    this.#onModel = onModel;
  }

  retry(photo) {
    this.#photos.update(photo, { state: "waiting", words: "" });
    this.start();
  }

  /** Tag all waiting photos, one request after the other. */
  async start() {
    if (this.#running) return;
    this.#running = true;
    for (let waiting; (waiting = this.#waiting()).length; ) {
      await this.#tag(nextBatch(waiting, this.#limits));
    }
    this.#running = false;
  }

  #waiting() {
    return this.#photos.all.filter((photo) => photo.state === "waiting");
  }

  async #tag(batch) {
    const usable = [];
    for (const photo of batch) {
      this.#photos.update(photo, { state: "sent", words: "" });
      const words = await unusable(photo.file, this.#limits);
      if (words) this.#fail(photo, words);
      else usable.push(photo);
    }
    if (usable.length === 0) return;
    try {
      const answer = await this.#api.post("predict", imagesForm(usable, [["all_scores", "true"]]));
      this.#onModel(answer.model);
      answer.results.forEach((result, index) => this.#settle(usable[index], result));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.results) error.results.forEach((result, index) => this.#settle(usable[index], result));
      else {
        const failed = error.general ? [...usable, ...this.#waiting()] : usable;
        for (const photo of failed) this.#fail(photo, error.message);
      }
    }
  }

  #settle(photo, result) {
    if (!this.#photos.has(photo)) return; // removed meanwhile
    if (result.status === "error") {
      this.#fail(photo, `${result.error.message}.`);
      return;
    }
    const { width, height, labels } = result;
    this.#photos.update(photo, { state: "done", words: "", width, height, labels });
  }

  #fail(photo, words) {
    if (this.#photos.has(photo)) this.#photos.update(photo, { state: "failed", words: sentence(words) });
  }
}

const sentence = (words) => words.charAt(0).toUpperCase() + words.slice(1);
