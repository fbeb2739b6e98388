/** A panel with the call behind a result, as curl and as Python, to copy. */

import { addressOf } from "./api.js";
import { announce, element } from "./dom.js";
import { curlCall, pythonCall } from "./snippets.js";

export class CallPanel {
  #curl = element("code");
  #python = element("code");

  /** @param {HTMLElement} place the element that gets the panel */
  constructor(place) {
    place.append(
      element(
        "details",
        { className: "call" },
        element("summary", {}, "The same call with curl and Python"),
        snippet("curl", this.#curl),
        snippet("Python", this.#python),
        element("p", { className: "muted small" }, "Run them in the folder of the photo. Python needs the package httpx."),
      ),
    );
  }

  /** @param {string} path of the API @param {object} photo @param {string[][]} fields @param {boolean} hasKey */
  render(path, photo, fields, hasKey) {
    const call = { address: addressOf(path), photo, fields, hasKey };
    this.#curl.textContent = curlCall(call);
    this.#python.textContent = pythonCall(call);
  }
}

function snippet(name, code) {
  const button = element("button", { type: "button", className: "quiet", "aria-label": `Copy the ${name} call` }, "Copy");
  button.addEventListener("click", async () => {
    const copied = await copy(code);
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    announce(copied ? `Copied the ${name} call` : "Press Ctrl+C to copy the selected text");
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  const head = element("div", { className: "snippet-head" }, element("h3", {}, name), button);
  const text = element("pre", { tabIndex: 0, role: "region", "aria-label": `${name} call` }, code);
  return element("div", { className: "snippet" }, head, text);
}

/** Copy the text of an element. Without https the clipboard is closed: then select the text. */
async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return false;
  }
}
