/** Asks for an API key. The key stays in the memory of this page. */

import { byId } from "./dom.js";

/**
 * @param {boolean} refused whether the server refused the last key
 * @returns {Promise<string>} the key; "" if the visitor cancels
 */
export function askForKey(refused) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-words").textContent = refused
    ? "The server did not accept this key. Check it, or ask the operator for another."
    : "Ask its operator for one. The page keeps the key until you close or reload it.";
  input.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const controller = new AbortController();
    const { signal } = controller;
    const settle = (key) => {
      controller.abort();
      dialog.close();
      resolve(key);
    };
    byId("key-form").addEventListener(
      "submit",
      (event) => {
        event.preventDefault();
        settle(input.value.trim());
      },
      { signal },
    );
    byId("key-cancel").addEventListener("click", () => settle(""), { signal });
    dialog.addEventListener("cancel", () => settle(""), { signal });
  });
}
