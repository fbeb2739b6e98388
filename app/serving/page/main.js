/** Creates the parts of the page and connects them. */

import { Api } from "./api.js";
import { CallPanel } from "./call_panel.js";
import { announce, byId, showWords } from "./dom.js";
import { takePhotos } from "./choosing.js";
import { askForKey } from "./key_dialog.js";
import { LabelsTab } from "./labels.js";
import limits from "./limits.json" with { type: "json" };
import { Photos } from "./photos.js";
import { isServed } from "./selection.js";
import { SimilarTab } from "./similar.js";
import { Strip } from "./strip.js";
import { makeTabs } from "./tabs.js";
import { Tagging } from "./tagging.js";
import { TextsTab } from "./zero_shot.js";

const notice = (words) => showWords(byId("notice"), words);
const photos = new Photos();
const api = new Api(limits.request_timeout_s, askForKey, notice);
const tagging = new Tagging(photos, api, limits, showModel);
const labels = new LabelsTab(photos, api, {
  retry: (photo) => tagging.retry(photo),
  onRule: render,
});
const texts = new TextsTab(photos, api, limits, renderCalls);
const similar = new SimilarTab(photos, api, limits);
const strip = new Strip(photos, (photo) => photo.labels.filter((label) => isServed(label, labels.one)).length);
const calls = [
  { path: "predict", tab: labels, panel: new CallPanel(byId("labels-call")) },
  { path: "zero-shot", tab: texts, panel: new CallPanel(byId("texts-call")) },
  { path: "embed", tab: similar, panel: new CallPanel(byId("similar-call")) },
];
let shownModel = "";
let announced = null;

function showModel({ name, version }) {
  const model = `${name} ${version}`;
  if (model === shownModel) return;
  shownModel = model;
  byId("model").textContent = model;
  labels.forgetCards();
}

function render() {
  strip.render();
  for (const { tab } of calls) tab.render();
  renderCalls();
}

function renderCalls() {
  if (!photos.selected) return;
  for (const { path, tab, panel } of calls) panel.render(path, photos.selected, tab.fields, api.hasKey);
}

/** Say the result of the selected photo once. */
function announceResult() {
  const photo = photos.selected;
  if (!photo?.labels || photo === announced) return;
  announced = photo;
  const names = photo.labels.filter((label) => isServed(label, labels.one)).map((label) => label.name);
  announce(`${photo.name}: ${names.length ? names.join(", ") : "no label reaches its threshold"}`);
}

makeTabs(byId("tabs"));
photos.addEventListener("change", () => {
  render();
  announceResult();
});
takePhotos((files, sampleAddress) => {
  notice("");
  photos.add(files, sampleAddress);
  tagging.start();
}, notice);
notice("");
