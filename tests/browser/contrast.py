"""Contrast of what a page shows, by WCAG 2.2 (success criteria 1.4.3 and 1.4.11)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

MIN_TEXT = 4.5
MIN_PART = 3.0  # of controls and graphics
FUNCTIONS = """
const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const parse = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = brush.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
};
const over = (top, under) => [0, 1, 2].map(
    (place) => top[place] * top[3] + under[place] * (1 - top[3])).concat(1);
const behind = (element) => {
    const own = element ? parse(getComputedStyle(element).backgroundColor) : [255, 255, 255, 1];
    return own[3] === 1 ? own : over(own, behind(element.parentElement));
};
const luminance = (colour) => colour.slice(0, 3)
    .map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, place) => sum + value * [0.2126, 0.7152, 0.0722][place], 0);
const contrast = (colour, background) => {
    const both = [over(parse(colour), background), background].map(luminance);
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
};
"""
# Text that can be seen: not of disabled controls, and not of what only screen readers read.
TEXTS = """
const UNSEEN = "script, style, noscript, :disabled, .visually-hidden, .sample span";
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const found = [];
for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    const text = node.textContent.trim();
    if (!text || !element.checkVisibility({ visibilityProperty: true })) continue;
    if (element.closest(UNSEEN)) continue;
    found.push([text, contrast(getComputedStyle(element).color, behind(element))]);
}
return found;
"""
PART = """
const element = document.querySelector(selector);
const colour = getComputedStyle(element)[property].match(/^[a-z]+\\([^)]*\\)/)[0];
return contrast(colour, behind(element.parentElement));
"""


def text_contrasts(page: "Page") -> dict[str, float]:
    """Return the contrast of each text of a page with its background, from 1 to 21."""
    found: list[tuple[str, float]] = page.evaluate(f"() => {{ {FUNCTIONS} {TEXTS} }}")
    assert found, "the page shows no text"
    return dict(sorted(found, key=lambda each: -each[1]))  # the lowest of the same text


def part_contrast(page: "Page", selector: str, colour: str) -> float:
    """Return the contrast of a part of a control or graphic with what is around it.

    Args:
        page: the page.
        selector: of the part.
        colour: the property that has its colour, such as `borderTopColor`.
    """
    script = f"([selector, property]) => {{ {FUNCTIONS} {PART} }}"
    found: float = page.evaluate(script, [selector, colour])
    return found
