/** The part of the map that is shown: position on the screen = place on the map * scale + offset. */

const SHARE = 0.92; // of the screen that the whole map takes
const MAX_ZOOM = 500;

export class MapView {
  width = 1;
  height = 1;
  zoom = 1;
  #centreX = 0.5;
  #centreY = 0.5;

  /** CSS pixels of the whole map. */
  get scale() {
    return SHARE * Math.min(this.width, this.height) * this.zoom;
  }
  get offsetX() {
    return this.width / 2 - this.#centreX * this.scale;
  }
  get offsetY() {
    return this.height / 2 - this.#centreY * this.scale;
  }

  resize(width, height) {
    this.width = Math.max(1, width);
    this.height = Math.max(1, height);
  }

  reset() {
    this.zoom = 1;
    this.centre(0.5, 0.5);
  }

  /** Show a place of the map in the middle. */
  centre(x, y) {
    this.#centreX = Math.min(1, Math.max(0, x));
    this.#centreY = Math.min(1, Math.max(0, y));
  }

  /** Move the map by CSS pixels. */
  panBy(x, y) {
    this.centre(this.#centreX - x / this.scale, this.#centreY - y / this.scale);
  }

  /** Zoom by a factor; the place at a position on the screen stays there. */
  zoomAt(x, y, factor) {
    const mapX = (x - this.offsetX) / this.scale;
    const mapY = (y - this.offsetY) / this.scale;
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    this.panBy(x - (mapX * this.scale + this.offsetX), y - (mapY * this.scale + this.offsetY));
  }

  /** Whether a place of the map is on the screen, not at its edge. */
  shows(x, y) {
    const left = x * this.scale + this.offsetX;
    const top = y * this.scale + this.offsetY;
    const margin = 20;
    return left > margin && left < this.width - margin && top > margin && top < this.height - margin;
  }
}
