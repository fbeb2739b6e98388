/** How photos get onto the page: drop, paste, the file chooser and samples. */

import { byId, element } from "./dom.js";
import samples from "./samples/samples.json" with { type: "json" };

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

/**
 * @param {(files: File[], sampleAddress?: string) => void} add called with new photos
 * @param {(words: string) => void} notice called with what went wrong
 */
export function takePhotos(add, notice) {
  const files = byId("files");
  byId("choose").addEventListener("click", () => files.click());
  files.addEventListener("change", () => {
    add([...files.files]);
    files.value = ""; // so that the same file can be chosen again
  });

  document.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length === 0) return;
    event.preventDefault();
    add(pasted);
  });

  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!hasFiles(event)) return;
    event.preventDefault();
    add([...event.dataTransfer.files]);
  });

  for (const sample of samples) byId("samples").append(sampleItem(sample, add, notice));
  byId("sample-box").hidden = samples.length === 0;
}

function sampleItem({ file, title, alt }, add, notice) {
  const address = new URL(`samples/${encodeURIComponent(file)}`, import.meta.url).href;
  const image = element("img", { src: address, alt, draggable: false });
  const button = element("button", { type: "button", className: "sample" }, image, element("span", {}, title));
  button.addEventListener("click", async () => {
    try {
      const answer = await fetch(address, { signal: AbortSignal.timeout(30_000) });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const content = await answer.blob();
      add([new File([content], file, { type: content.type })], address);
    } catch {
      notice("The sample cannot be loaded. Check that the server still runs.");
    }
  });
  return element("li", {}, button);
}
