/** The atlas: connects the map, the card, the categories and the search. */

import { AtlasData } from "./atlas_data.js";
import { describe, fillCard, hideCard, placeCard } from "./card.js";
import { categoryColours } from "./colours.js";
import { byId } from "./dom.js";
import { Legend } from "./legend.js";
import { MapView } from "./map_view.js";
import { DIMMED, HIDDEN, Points, SHOWN } from "./points.js";
import { Search } from "./search.js";

const ZOOM_STEP = 1.5;
const ZOOM_PER_PIXEL = 0.0016; // of the wheel
const LINE_PIXELS = 16; // of a wheel that counts lines
const PAN_STEP = 80; // CSS pixels
const CLICK_PIXELS = 4; // a pointer that moves less selects
const SELECTED_ZOOM = 4; // at least, when a photo of the list is chosen
const DIRECTIONS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

const data = new AtlasData();
const canvas = byId("canvas");
const view = new MapView();
const points = new Points(canvas, data);
const legend = new Legend(data, filter);
const search = new Search(data, filter, (index) => select(index, SELECTED_ZOOM));
const pointers = new Map(); // positions of the pointers that are down
let colours = [];
let hovered = -1;
let selected = -1;
let shown = -1; // the photo of the card
let moved = 0; // CSS pixels since the pointer went down
let frame = 0;

/** Draw once before the next frame. */
function redraw() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    const index = hovered >= 0 ? hovered : selected;
    points.draw(view, index);
    if (index < 0) hideCard();
    else if (index !== shown) fillCard(data, colours, index, redraw);
    if (index >= 0) placeCard(view, ...positionOf(index));
    shown = index;
  });
}

function positionOf(index) {
  return [data.x[index] * view.scale + view.offsetX, data.y[index] * view.scale + view.offsetY];
}

/** Apply the categories and the search. */
function filter() {
  const { matches } = search;
  const found = matches ? [] : null;
  for (let index = 0; index < data.count; index += 1) {
    if (!legend.shows(data.category[index])) points.state[index] = HIDDEN;
    else if (!matches || matches[index]) {
      points.state[index] = SHOWN;
      found?.push(index);
    } else points.state[index] = DIMMED;
  }
  search.render(found);
  hovered = -1;
  if (selected >= 0 && points.state[selected] === HIDDEN) selected = -1;
  redraw();
}

/** Keep the card of a photo open, and bring it onto the screen; -1 closes it. */
function select(index, zoom = 1) {
  selected = index;
  hovered = -1;
  if (index >= 0) {
    view.zoom = Math.max(view.zoom, zoom);
    if (zoom > 1 || !view.shows(data.x[index], data.y[index])) view.centre(data.x[index], data.y[index]);
    byId("announcement").textContent = describe(data, index);
  }
  redraw();
}

function hover(index) {
  canvas.classList.toggle("on-photo", index >= 0);
  if (index === hovered) return;
  hovered = index;
  redraw();
}

function zoomBy(factor, x = view.width / 2, y = view.height / 2) {
  view.zoomAt(x, y, factor);
  redraw();
}

function reset() {
  view.reset();
  redraw();
}

function recolour() {
  colours = categoryColours(data.categories.length - 1);
  points.setColours(colours);
  legend.setColours(colours);
  shown = -1;
  redraw();
}

/** Move or pinch the map with the pointers that are down. */
function drag(event) {
  const before = [...pointers.values()];
  const last = pointers.get(event.pointerId);
  const now = [event.offsetX, event.offsetY];
  moved += Math.hypot(now[0] - last[0], now[1] - last[1]);
  pointers.set(event.pointerId, now);
  if (moved < CLICK_PIXELS) return;
  canvas.classList.add("dragging");
  hovered = -1;
  view.panBy((now[0] - last[0]) / before.length, (now[1] - last[1]) / before.length);
  if (before.length === 2) {
    const [first, second] = [...pointers.values()];
    const distance = ([[left, top], [right, bottom]]) => Math.hypot(right - left, bottom - top) || 1;
    const middle = [(first[0] + second[0]) / 2, (first[1] + second[1]) / 2];
    view.zoomAt(...middle, distance([first, second]) / distance(before));
  }
  redraw();
}

function release(event) {
  if (!pointers.delete(event.pointerId) || pointers.size) return;
  canvas.classList.remove("dragging");
  if (event.type === "pointerup" && moved < CLICK_PIXELS) {
    select(points.at(view, event.offsetX, event.offsetY));
  }
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  if (pointers.size === 0) moved = 0;
  pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
});
canvas.addEventListener("pointermove", (event) => {
  if (pointers.has(event.pointerId)) drag(event);
  else if (event.pointerType === "mouse") hover(points.at(view, event.offsetX, event.offsetY));
});
canvas.addEventListener("pointerup", release);
canvas.addEventListener("pointercancel", release);
canvas.addEventListener("pointerleave", () => hover(-1));
canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const pixels = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY : event.deltaY * LINE_PIXELS;
    zoomBy(Math.exp(-pixels * ZOOM_PER_PIXEL), event.offsetX, event.offsetY);
  },
  { passive: false },
);
canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const direction = DIRECTIONS[event.key];
  if (direction && event.shiftKey) {
    view.panBy(-PAN_STEP * direction[0], -PAN_STEP * direction[1]);
    redraw();
  } else if (direction) {
    const from = selected >= 0 ? positionOf(selected) : [view.width / 2, view.height / 2];
    const next = points.next(view, ...from, direction);
    if (next >= 0) select(next);
  } else if (event.key === "+" || event.key === "=") zoomBy(ZOOM_STEP);
  else if (event.key === "-") zoomBy(1 / ZOOM_STEP);
  else if (event.key === "0") reset();
  else if (event.key === "Escape") select(-1);
  else return;
  event.preventDefault();
});
byId("closer").addEventListener("click", () => zoomBy(ZOOM_STEP));
byId("farther").addEventListener("click", () => zoomBy(1 / ZOOM_STEP));
byId("reset").addEventListener("click", reset);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
new ResizeObserver(([{ contentRect }]) => {
  view.resize(contentRect.width, contentRect.height);
  redraw();
}).observe(byId("map"));

byId("about").textContent =
  `${data.count.toLocaleString("en")} ${data.count === 1 ? "photo" : "photos"}, placed by the embeddings of ${data.model}.`;
recolour();
