/** Search for labels and file names: what is found, and a list of it. */

import { byId, element } from "./dom.js";

const MAX_LISTED = 100;

export class Search {
  #data;
  #select;

  /**
   * @param {AtlasData} data
   * @param {() => void} changed called when another text is searched for
   * @param {(index: number) => void} select called when a photo of the list is chosen
   */
  constructor(data, changed, select) {
    this.#data = data;
    this.#select = select;
    byId("query").addEventListener("input", changed);
  }

  /** Whether each photo is found; null if nothing is searched for. */
  get matches() {
    const query = byId("query").value;
    return query.trim() ? this.#data.matches(query) : null;
  }

  /** List the photos that are found and can be seen. */
  render(found) {
    const listed = found?.slice(0, MAX_LISTED) ?? [];
    const total = this.#data.count.toLocaleString("en");
    const rest = found && found.length > MAX_LISTED ? `; the first ${MAX_LISTED} are listed` : "";
    byId("found").textContent = found ? `${found.length.toLocaleString("en")} of ${total} photos${rest}` : "";
    byId("matches").replaceChildren(
      ...listed.map((index) => {
        const button = element("button", { type: "button" }, this.#data.photos[index].id);
        button.addEventListener("click", () => this.#select(index));
        return element("li", {}, button);
      }),
    );
  }
}
