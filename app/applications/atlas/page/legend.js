/** Switches of the categories. */

import { byId, element, swatch } from "./dom.js";

export class Legend {
  #boxes = [];
  #dots = [];

  /** @param {AtlasData} data @param {() => void} changed called when a category is switched */
  constructor(data, changed) {
    const counts = data.categories.map(() => 0);
    for (const category of data.category) counts[category] += 1;
    data.categories.forEach((name, category) => {
      const box = element("input", { type: "checkbox", checked: true });
      const dot = swatch("");
      this.#boxes.push(box);
      this.#dots.push(dot);
      box.addEventListener("change", changed);
      const count = element("span", { className: "count" }, counts[category].toLocaleString("en"));
      const row = element("li", {}, element("label", {}, box, dot, name, count));
      row.hidden = counts[category] === 0;
      byId("categories").append(row);
    });
    for (const [id, checked] of [["all", true], ["none", false]]) {
      byId(id).addEventListener("click", () => {
        for (const box of this.#boxes) box.checked = checked;
        changed();
      });
    }
  }

  shows(category) {
    return this.#boxes[category].checked;
  }

  setColours(colours) {
    this.#dots.forEach((dot, category) => (dot.style.background = colours[category]));
  }
}
