/** Colours of the categories in the current scheme, light or dark. */

const GREY_CHROMA = 0.012;
const CHROMA = 0.15;
const FIRST_HUE = 25; // degrees
const STEP = 0.07; // of lightness, between neighbours on the colour wheel

const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * Return one CSS colour per category, and a grey for photos without a label.
 * @param {number} categories
 */
export function categoryColours(categories) {
  const lightness = Number(variable("--lightness"));
  const colours = Array.from({ length: categories }, (_, index) => {
    const hue = FIRST_HUE + (360 * index) / categories;
    return `oklch(${lightness + (index % 2 ? STEP : -STEP)} ${CHROMA} ${hue})`;
  });
  return [...colours, `oklch(${lightness} ${GREY_CHROMA} 200)`];
}

export const mapColour = () => variable("--map");
export const inkColour = () => variable("--ink");

/** Return the pixel of a CSS colour as ImageData holds it, in 32 bits. */
export function pixelOf(colour) {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
}

/** Mix two pixels; `share` of `over`, from 0 to 256. */
export function mix(under, over, share) {
  const redBlue = under & 0xff00ff;
  const green = under & 0xff00;
  const mixedRedBlue = (redBlue + ((((over & 0xff00ff) - redBlue) * share) >> 8)) & 0xff00ff;
  const mixedGreen = (green + ((((over & 0xff00) - green) * share) >> 8)) & 0xff00;
  return (0xff000000 | mixedRedBlue | mixedGreen) >>> 0;
}
