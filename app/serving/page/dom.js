/** Short forms for the document. */

export const byId = (id) => document.getElementById(id);

/**
 * Make an element.
 * @param {string} name tag name
 * @param {object} properties properties; names with a dash and `role` are attributes
 * @param {...(Node|string)} children contents
 */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** Show words in an element, or hide it if there are none. */
export function showWords(place, words) {
  place.textContent = words;
  place.hidden = !words;
}

/** Say something to screen readers. */
export function announce(words) {
  byId("announcement").textContent = words;
}

/** A bar of a row; `fraction` is in [0, 1]. */
export function bar(fraction) {
  const fill = element("span", { className: "fill" });
  fill.style.width = `${100 * Math.min(1, Math.max(0, fraction))}%`;
  return element("span", { className: "bar", "aria-hidden": "true" }, fill);
}
