/** The tab with the labels of the selected photo. */

import { ApiError } from "./api.js";
import { bar, byId, element, showWords } from "./dom.js";
import { byCategory, isServed, thresholdOf, writeBoth } from "./selection.js";

const EVIDENCE = {
  human: "Its threshold and metrics come from photos that people judged.",
  pseudo: "Its threshold and metrics come from labels that another model gave.",
  none: "Nothing was measured on this label.",
};

export class LabelsTab {
  #photos;
  #api;
  #shown = null; // the labels that the rows are for
  #rows = [];
  #groups = [];
  #cards = null;

  /**
   * @param {Photos} photos
   * @param {Api} api
   * @param {{retry: (photo: object) => void, onRule: () => void}} events
   */
  constructor(photos, api, { retry, onRule }) {
    this.#photos = photos;
    this.#api = api;
    byId("retry").addEventListener("click", () => retry(photos.selected));
    const slider = byId("slider");
    const number = byId("threshold");
    const changed = () => {
      this.render();
      onRule();
    };
    const setOne = (value) => {
      const one = Math.min(1, Math.max(0, Number(value) || 0));
      slider.value = one;
      byId("rule-one").checked = true;
      changed();
      return one;
    };
    slider.addEventListener("input", () => {
      number.value = slider.value;
      setOne(slider.value);
    });
    number.addEventListener("input", () => setOne(number.value));
    number.addEventListener("change", () => (number.value = setOne(number.value)));
    for (const id of ["rule-own", "rule-one", "all"]) byId(id).addEventListener("change", changed);
  }

  /** The threshold of all labels; null for each label's own. */
  get one() {
    if (byId("rule-own").checked) return null;
    return Math.min(1, Math.max(0, Number(byId("threshold").value) || 0));
  }

  /** The options of the request that returns what this tab shows. */
  get fields() {
    if (byId("all").checked) return [["all_scores", "true"]];
    return this.one === null ? [] : [["min_confidence", String(this.one)]];
  }

  /** Forget the descriptions of labels, which belong to another checkpoint. */
  forgetCards() {
    this.#cards = null;
  }

  render() {
    const photo = this.#photos.selected;
    if (!photo) return;
    const failed = photo.state === "failed";
    showWords(byId("labels-error"), failed ? photo.words : "");
    byId("retry").hidden = !failed;
    showWords(byId("progress"), photo.labels || failed ? "" : "The server tags the photo…");
    for (const id of ["all-box", "legend"]) byId(id).hidden = !photo.labels;
    if (photo.labels !== this.#shown) this.#build(photo.labels);
    this.#update(photo.labels ?? []);
  }

  #build(labels) {
    this.#shown = labels;
    this.#rows = [];
    const names = new Map((labels ?? []).map((label) => [label.id, label.name]));
    this.#groups = [...byCategory(labels ?? [])].map(([category, members]) => {
      const rows = members.map((label) => this.#row(label, names));
      this.#rows.push(...rows);
      const title = element("h3", {}, category);
      const list = element("ul", { className: "rows" }, ...rows.map((row) => row.item));
      return { rows, section: element("section", { className: "group" }, title, list) };
    });
    byId("groups").replaceChildren(...this.#groups.map((group) => group.section));
  }

  #row(label, names) {
    const parents = label.parents.map((id) => names.get(id) ?? id).join(", ");
    const name = element("span", { className: "name" }, label.name);
    if (parents) name.append(element("small", {}, ` in ${parents}`));
    const meter = bar(label.confidence);
    const tick = element("span", { className: "tick" });
    meter.append(tick);
    const mark = element("span", { className: "mark", "aria-hidden": "true" });
    const number = element("span", { className: "number" });
    const said = element("span", { className: "visually-hidden" });
    const why = element("div", { className: "why" });
    const details = element(
      "details",
      {},
      element("summary", {}, mark, name, meter, number, said),
      why,
    );
    const row = { label, item: element("li", {}, details), tick, mark, number, said, why, details };
    details.addEventListener("toggle", () => this.#explain(row));
    return row;
  }

  #update(labels) {
    const { one } = this;
    const all = byId("all").checked;
    for (const { label, item, tick, mark, number, said } of this.#rows) {
      const served = isServed(label, one);
      const threshold = thresholdOf(label, one);
      item.hidden = !served && !all;
      item.dataset.served = served ? "yes" : "no";
      mark.textContent = served ? "✓" : "";
      tick.hidden = threshold === null;
      if (threshold === null) {
        number.replaceChildren(label.confidence.toFixed(2), element("small", {}, "no threshold"));
        said.textContent = ", not served by default";
      } else {
        tick.style.left = `${100 * threshold}%`;
        const [written, limit] = writeBoth(label.confidence, threshold);
        number.replaceChildren(written, element("small", {}, `${served ? "≥" : "<"} ${limit}`));
        said.textContent = served ? ", served" : ", not served";
      }
    }
    for (const { rows, section } of this.#groups) section.hidden = rows.every((row) => row.item.hidden);
    for (const row of this.#rows) if (row.details.open) this.#explain(row);
    const served = labels.filter((label) => isServed(label, one)).length;
    byId("count").textContent = labels.length ? summary(served, labels.length, one, all) : "";
  }

  async #explain({ label, why, details }) {
    if (!details.open) return;
    const reason = reasonFor(label, this.one);
    why.replaceChildren(element("p", {}, reason));
    try {
      this.#cards ??= this.#api.get("labels");
      const { labels } = await this.#cards;
      const card = labels.find(({ id }) => id === label.id);
      const { prompt = "", description = "", evidence = null } = card ?? {};
      const lines = [reason];
      if (prompt) lines.push(`The model compares the photo with the text “${prompt}”.`);
      if (EVIDENCE[evidence]) lines.push(EVIDENCE[evidence]);
      if (description) lines.push(`${label.name}: ${description}`);
      why.replaceChildren(...lines.map((line) => element("p", {}, line)));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#cards = null;
      why.append(element("p", { className: "error" }, error.message));
    }
  }
}

function summary(served, total, one, all) {
  const kind = one === null ? "its threshold" : `the threshold of ${one}`;
  if (served === 0) {
    const hint = all ? "" : " Show all labels to see how close they are.";
    return `No label reaches ${kind}.${hint}`;
  }
  return `${served} of ${total} labels ${served === 1 ? "reaches" : "reach"} ${one === null && served > 1 ? "their thresholds" : kind}.`;
}

function reasonFor(label, one) {
  const threshold = thresholdOf(label, one);
  if (threshold === null) {
    return `The server does not return this label by default: it has no threshold. Its confidence is ${label.confidence}.`;
  }
  const whose = one === null ? "its threshold" : "the threshold";
  return isServed(label, one)
    ? `The server returns this label: its confidence of ${label.confidence} is at least ${whose} of ${threshold}.`
    : `The server does not return this label: its confidence of ${label.confidence} is below ${whose} of ${threshold}.`;
}
