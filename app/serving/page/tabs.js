/** Tabs: arrow keys, Home and End move among them (WAI-ARIA, tabs pattern). */

const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

/** @param {HTMLElement} list the element with the role tablist */
export function makeTabs(list) {
  const tabs = [...list.children];

  function select(chosen) {
    for (const tab of tabs) {
      const selected = tab === chosen;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
    }
  }

  list.addEventListener("click", (event) => {
    const tab = event.target.closest("[role=tab]");
    if (tab) select(tab);
  });
  list.addEventListener("keydown", (event) => {
    const index = tabs.indexOf(document.activeElement);
    const ends = { Home: 0, End: tabs.length - 1 };
    const next = event.key in STEPS ? index + STEPS[event.key] : ends[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const tab = tabs.at(next % tabs.length);
    tab.focus();
    select(tab);
  });
  select(tabs[0]);
}
