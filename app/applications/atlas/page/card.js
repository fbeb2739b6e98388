/** The card of one photo, next to its dot. */

import { byId, element, swatch } from "./dom.js";

const GAP = 16; // CSS pixels between dot and card
const MARGIN = 8; // between card and the edge of the map

/** Fill the card with a photo and its labels; `resized` is called when the photo has its size. */
export function fillCard(data, colours, index, resized) {
  const card = byId("card");
  const address = data.thumbnailOf(index);
  const parts = [element("p", { className: "name" }, data.photos[index].id)];
  if (address) parts.unshift(element("img", { src: address, alt: "", onload: resized }));
  const rows = data.labelsOf(index).map(({ name, category, percent }) =>
    element("li", {}, swatch(colours[category]), name, element("span", { className: "number" }, `${percent} %`)),
  );
  parts.push(rows.length ? element("ul", {}, ...rows) : element("p", { className: "muted" }, "No label"));
  card.replaceChildren(...parts);
  card.hidden = false;
}

/** Put the card next to a position on the map, inside the map. */
export function placeCard(view, x, y) {
  const card = byId("card");
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = x + GAP + width + MARGIN <= view.width ? x + GAP : x - GAP - width;
  const within = (value, size, room) => Math.max(MARGIN, Math.min(value, room - size - MARGIN));
  card.style.left = `${within(left, width, view.width)}px`;
  card.style.top = `${within(y - height / 3, height, view.height)}px`;
}

export function hideCard() {
  byId("card").hidden = true;
}

/** What a screen reader says of a photo. */
export function describe(data, index) {
  const labels = data.labelsOf(index).map(({ name, percent }) => `${name} ${percent} %`);
  return `${data.photos[index].id}: ${labels.join(", ") || "no label"}`;
}
