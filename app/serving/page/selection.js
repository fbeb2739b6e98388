/** Which labels the server returns for a threshold, and how they are grouped. No document here. */

/**
 * The threshold of a label: its own, or one for all. Null: the label is not served by default.
 * @param {object} label from /predict
 * @param {number|null} one the threshold of all labels; null for each label's own
 */
export const thresholdOf = (label, one) => one ?? label.threshold;

export function isServed(label, one) {
  const threshold = thresholdOf(label, one);
  return threshold !== null && label.confidence >= threshold;
}

/** Group labels by category. The category of the best label comes first. */
export function byCategory(labels) {
  const groups = new Map();
  for (const label of labels) {
    if (!groups.has(label.category)) groups.set(label.category, []);
    groups.get(label.category).push(label);
  }
  return groups;
}

/** Write two probabilities with as few digits as show which is larger. */
export function writeBoth(confidence, threshold) {
  for (const digits of [2, 3, 4]) {
    const written = [confidence.toFixed(digits), threshold.toFixed(digits)];
    if (written[0] !== written[1]) return written;
  }
  return [String(confidence), String(threshold)];
}
