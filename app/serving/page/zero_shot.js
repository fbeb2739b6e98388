/** The tab that scores the selected photo with the visitor's own texts. */

import { ApiError } from "./api.js";
import { announce, bar, byId, element, showWords } from "./dom.js";
import { imagesForm, unusable } from "./uploads.js";

const DEFAULT_TEMPLATE = "a photo with {}";
const SCORING = {
  "": "The checkpoint’s own method.",
  calibrated: "Each text by itself. A text that fits nothing stays low.",
  sigmoid: "Each text by itself, as the model was trained.",
  pair: "Each text against the text “a photo”.",
  softmax: "Just one of the texts fits: the scores add up to 1.",
};

export class TextsTab {
  #photos;
  #api;
  #limits;
  #onOptions;
  #busy = false;

  /**
   * @param {Photos} photos
   * @param {Api} api
   * @param {object} limits of the server
   * @param {() => void} onOptions called when the options change
   */
  constructor(photos, api, limits, onOptions) {
    this.#photos = photos;
    this.#api = api;
    this.#limits = limits;
    this.#onOptions = onOptions;
    byId("texts-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#score();
    });
    for (const id of ["texts", "template", "scoring"]) {
      byId(id).addEventListener("input", () => {
        this.render();
        onOptions();
      });
    }
  }

  get texts() {
    const lines = byId("texts").value.split("\n").map((line) => line.trim());
    return lines.filter((line) => line);
  }

  /** The options of the request that this tab sends. */
  get fields() {
    const fields = this.texts.map((text) => ["labels", text]);
    const template = byId("template").value;
    const scoring = byId("scoring").value;
    if (template !== DEFAULT_TEMPLATE) fields.push(["template", template]);
    if (scoring) fields.push(["scoring", scoring]);
    return fields;
  }

  render() {
    const photo = this.#photos.selected;
    byId("scoring-help").textContent = SCORING[byId("scoring").value];
    showWords(byId("texts-error"), "");
    const answer = photo?.scores.get(JSON.stringify(this.fields));
    showWords(byId("texts-status"), this.#status(photo, answer));
    byId("scores").replaceChildren(...(answer?.scores ?? []).map(scoreRow));
  }

  #status(photo, answer) {
    if (this.#busy) return "The server scores the photo…";
    if (answer) return `Scoring: ${answer.scoring}. Best first.`;
    return photo?.scores.size ? "Not scored with these texts and options yet." : "";
  }

  async #score() {
    const photo = this.#photos.selected;
    const { fields, texts } = this;
    if (!photo || this.#busy) return;
    if (texts.length === 0) {
      showWords(byId("texts-error"), "Write at least one text.");
      byId("texts").focus();
      return;
    }
    this.#busy = true;
    this.render();
    let words = await unusable(photo.file, this.#limits);
    try {
      if (!words) {
        const { scoring, results } = await this.#api.post("zero-shot", imagesForm([photo], fields));
        photo.scores.set(JSON.stringify(fields), { scoring, scores: results[0].scores });
        announce(`Best: ${results[0].scores[0].label}, ${results[0].scores[0].confidence.toFixed(2)}`);
      }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      words = error.results?.[0]?.error.message ?? error.message;
    } finally {
      this.#busy = false;
    }
    this.render();
    showWords(byId("texts-error"), words);
    this.#onOptions();
  }
}

function scoreRow({ label, confidence }) {
  return element(
    "li",
    { className: "score" },
    element("span", { className: "name" }, label),
    bar(confidence),
    element("span", { className: "number" }, confidence >= 0.001 || confidence === 0 ? confidence.toFixed(3) : "< 0.001"),
  );
}
