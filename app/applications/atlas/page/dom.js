/** Short forms for the document. */

export const byId = (id) => document.getElementById(id);

/** Make an element with properties and children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A dot of a colour. */
export function swatch(colour) {
  const dot = element("span", { className: "swatch" });
  dot.style.background = colour;
  return dot;
}
