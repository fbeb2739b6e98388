/** The thumbnails of all photos, and the selected photo. */

import { byId, element } from "./dom.js";

export class Strip {
  #photos;
  #countServed;
  #items = new Map();
  #shown = null;

  /**
   * @param {Photos} photos
   * @param {(photo: object) => number} countServed the labels that the server returns
   */
  constructor(photos, countServed) {
    this.#photos = photos;
    this.#countServed = countServed;
    byId("remove").addEventListener("click", () => {
      photos.remove(photos.selected);
      (this.#items.get(photos.selected)?.button ?? byId("choose")).focus();
    });
    byId("clear").addEventListener("click", () => {
      photos.clear();
      byId("choose").focus();
    });
    const image = byId("photo");
    image.addEventListener("error", () => this.#showPreview(false));
    image.addEventListener("load", () => this.#showPreview(true));
  }

  render() {
    const { all, selected } = this.#photos;
    for (const [photo, { item }] of this.#items) {
      if (!all.includes(photo)) {
        item.remove();
        this.#items.delete(photo);
      }
    }
    for (const photo of all) {
      if (!this.#items.has(photo)) this.#append(photo);
      this.#update(photo, this.#items.get(photo));
    }
    byId("work").hidden = all.length === 0;
    byId("main").dataset.photos = all.length ? "yes" : "no";
    byId("strip-title").textContent = all.length === 1 ? "1 photo" : `${all.length} photos`;
    if (selected) this.#show(selected);
    else this.#shown = null;
  }

  #append(photo) {
    const image = element("img", { src: photo.preview, alt: "", draggable: false, decoding: "async" });
    const name = element("span", { className: "file" }, photo.name);
    const state = element("span", { className: "state" });
    const button = element("button", { type: "button", className: "thumb" }, image, name, state);
    button.addEventListener("click", () => this.#photos.select(photo));
    image.addEventListener("error", () => image.classList.add("broken"));
    const item = element("li", {}, button);
    this.#items.set(photo, { item, button, state });
    byId("strip").append(item);
  }

  #update(photo, { button, state }) {
    button.setAttribute("aria-pressed", String(photo === this.#photos.selected));
    button.dataset.state = photo.state;
    state.textContent = this.#stateOf(photo);
  }

  #stateOf(photo) {
    if (photo.state === "failed") return `⚠ ${photo.words}`;
    if (photo.state === "done") {
      const count = this.#countServed(photo);
      return count === 1 ? "1 label" : `${count} labels`;
    }
    return photo.state === "sent" ? "tagging…" : "waiting…";
  }

  #show(photo) {
    const size = photo.width ? `, ${photo.width} × ${photo.height} pixels` : "";
    byId("caption").textContent = `${photo.name}${size}`;
    if (photo === this.#shown) return;
    this.#shown = photo;
    this.#showPreview(true);
    const image = byId("photo");
    image.src = photo.preview;
    image.alt = `Selected photo: ${photo.name}`;
  }

  #showPreview(shown) {
    byId("photo").hidden = !shown;
    byId("no-preview").hidden = shown;
  }
}
