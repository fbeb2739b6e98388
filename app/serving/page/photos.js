/** The photos of this page, in the order in which they were added. */

/**
 * A photo:
 * - file, name, preview (object URL), sampleAddress (null for a visitor's own photo)
 * - state: "waiting", "sent", "done" or "failed"; words: what failed, or why it waits
 * - width, height, labels: from /predict, once done
 * - embedding: Float32Array, once computed
 * - scores: results of /zero-shot by options
 */
export class Photos extends EventTarget {
  all = [];
  selected = null;

  add(files, sampleAddress = null) {
    const added = files.map((file) => ({
      file,
      name: file.name || "photo",
      preview: URL.createObjectURL(file),
      sampleAddress,
      state: "waiting",
      words: "",
      labels: null,
      embedding: null,
      scores: new Map(),
    }));
    this.all.push(...added);
    this.selected = added[0] ?? this.selected;
    this.#changed();
  }

  has(photo) {
    return this.all.includes(photo);
  }

  select(photo) {
    this.selected = photo;
    this.#changed();
  }

  update(photo, changes) {
    Object.assign(photo, changes);
    this.#changed();
  }

  remove(photo) {
    const index = this.all.indexOf(photo);
    this.all.splice(index, 1);
    URL.revokeObjectURL(photo.preview);
    if (this.selected === photo) this.selected = this.all[Math.min(index, this.all.length - 1)] ?? null;
    this.#changed();
  }

  clear() {
    for (const photo of this.all) URL.revokeObjectURL(photo.preview);
    this.all = [];
    this.selected = null;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
