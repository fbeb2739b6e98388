/**
 * Draws the photos as dots into the pixels of a canvas, and finds the photo at a position.
 *
 * Pixels are written directly: a call per dot is too slow for tens of thousands of them, and WebGL
 * is slow on machines without a graphics card.
 */

import { inkColour, mapColour, mix, pixelOf } from "./colours.js";

export const HIDDEN = 0;
export const DIMMED = 1;
export const SHOWN = 2;

const RADIUS = 7; // CSS pixels of one of ten dots
const MAX_RADIUS = 9;
const DIM = 56; // of 256: share of the colour of a dot that the search does not find
const REACH = 8; // CSS pixels from the edge of a dot at which it is found
const SAMPLES = 4; // per side of a pixel, for smooth edges

export class Points {
  #canvas;
  #context;
  #data;
  #order;
  #image = null;
  #pixels = null;

  constructor(canvas, data) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#data = data;
    /** HIDDEN, DIMMED or SHOWN, per photo */
    this.state = new Uint8Array(data.count).fill(SHOWN);
    this.#order = mixedOrder(data.count);
    this.setColours([]);
  }

  /** @param {string[]} colours CSS colours by category */
  setColours(colours) {
    this.background = pixelOf(mapColour());
    this.ink = inkColour();
    this.colours = Uint32Array.from(colours, pixelOf);
    this.dimmed = this.colours.map((colour) => mix(this.background, colour, DIM));
  }

  /** CSS pixels. */
  radius(view) {
    const base = RADIUS * Math.pow(10 / Math.max(10, this.#data.count), 0.16);
    return Math.min(MAX_RADIUS, base * Math.pow(view.zoom, 0.35));
  }

  /** Draw the map, with a ring around one photo; -1 for none. */
  draw(view, ringed) {
    const ratio = devicePixelRatio;
    const radius = this.radius(view) * ratio;
    const margin = Math.ceil(MAX_RADIUS * ratio) + 2; // so that dots at the edge fit
    this.#resize(view, ratio, margin);
    const { width } = this.#image;
    const stamp = stampOf(radius, width);
    this.#pixels.fill(this.background);
    this.#drawDots(view, ratio, margin, stamp, DIMMED, this.dimmed);
    this.#drawDots(view, ratio, margin, stamp, SHOWN, this.colours);
    this.#context.putImageData(this.#image, -margin, -margin);
    if (ringed >= 0) this.#drawRing(view, ratio, ringed, radius);
  }

  /** Return the photo nearest to a position on the screen that can be seen; -1 if none is near. */
  at(view, x, y) {
    const reach = this.radius(view) + REACH;
    return this.#nearest(view, x, y, (across, down) => across * across + down * down, reach * reach);
  }

  /** Return the next photo in a direction from a position on the screen; -1 if there is none. */
  next(view, x, y, [right, down]) {
    const distance = (across, along) => {
      const ahead = across * right + along * down;
      const aside = Math.abs(across * down) + Math.abs(along * right);
      return ahead > 0 && aside <= ahead ? ahead * ahead + 4 * aside * aside : Infinity;
    };
    return this.#nearest(view, x, y, distance, Infinity);
  }

  #nearest(view, x, y, distance, limit) {
    const { x: xs, y: ys, count } = this.#data;
    const { scale, offsetX, offsetY } = view;
    let [best, shortest] = [-1, limit];
    for (let index = 0; index < count; index += 1) {
      if (this.state[index] === HIDDEN) continue;
      const found = distance(xs[index] * scale + offsetX - x, ys[index] * scale + offsetY - y);
      if (found < shortest) [best, shortest] = [index, found];
    }
    return best;
  }

  #resize(view, ratio, margin) {
    const width = Math.round(view.width * ratio);
    const height = Math.round(view.height * ratio);
    const canvas = this.#canvas;
    if (this.#image && canvas.width === width && canvas.height === height) return;
    canvas.width = width;
    canvas.height = height;
    this.#image = this.#context.createImageData(width + 2 * margin, height + 2 * margin);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
  }

  #drawDots(view, ratio, margin, { core, edge, share }, state, colours) {
    const pixels = this.#pixels;
    const { x, y, category } = this.#data;
    const { width } = this.#image;
    const scale = view.scale * ratio;
    const left = view.offsetX * ratio + margin;
    const top = view.offsetY * ratio + margin;
    const right = this.#canvas.width + 2 * margin - margin / 2;
    const bottom = this.#canvas.height + 2 * margin - margin / 2;
    for (const index of this.#order) {
      if (this.state[index] !== state) continue;
      const column = Math.round(x[index] * scale + left);
      const row = Math.round(y[index] * scale + top);
      if (column < margin / 2 || row < margin / 2 || column > right || row > bottom) continue;
      const colour = colours[category[index]];
      const middle = row * width + column;
      for (let place = 0; place < core.length; place += 1) pixels[middle + core[place]] = colour;
      for (let place = 0; place < edge.length; place += 1) {
        const pixel = middle + edge[place];
        pixels[pixel] = mix(pixels[pixel], colour, share[place]);
      }
    }
  }

  #drawRing(view, ratio, index, radius) {
    const context = this.#context;
    context.beginPath();
    context.arc(
      (this.#data.x[index] * view.scale + view.offsetX) * ratio,
      (this.#data.y[index] * view.scale + view.offsetY) * ratio,
      radius + 3 * ratio,
      0,
      2 * Math.PI,
    );
    context.lineWidth = 2.5 * ratio;
    context.strokeStyle = this.ink;
    context.stroke();
  }
}

/** All indices, in an order in which neighbours are far apart: no category covers the others. */
function mixedOrder(count) {
  let step = Math.max(1, Math.round(count * 0.618));
  while (commonDivisor(step, count) > 1) step += 1;
  return Uint32Array.from({ length: count }, (_, place) => (place * step) % count);
}

function commonDivisor(first, second) {
  return second ? commonDivisor(second, first % second) : first;
}

/** The pixels of a dot, relative to its middle: those that it covers, and its edge by share. */
function stampOf(radius, width) {
  const [core, edge, share] = [[], [], []];
  const reach = Math.ceil(radius);
  for (let row = -reach; row <= reach; row += 1) {
    for (let column = -reach; column <= reach; column += 1) {
      const covered = coverage(column, row, radius);
      if (covered === 1) core.push(row * width + column);
      else if (covered > 0) {
        edge.push(row * width + column);
        share.push(Math.round(256 * covered));
      }
    }
  }
  return { core, edge, share };
}

/** The share of a pixel that is inside a circle around 0. */
function coverage(column, row, radius) {
  let inside = 0;
  for (let place = 0; place < SAMPLES * SAMPLES; place += 1) {
    const x = column - 0.5 + ((place % SAMPLES) + 0.5) / SAMPLES;
    const y = row - 0.5 + (Math.floor(place / SAMPLES) + 0.5) / SAMPLES;
    if (x * x + y * y <= radius * radius) inside += 1;
  }
  return inside / (SAMPLES * SAMPLES);
}
