/** Photos as the body of a request. */

const MIB = 2 ** 20;

/** Build the form of a request. @param {string[][]} fields names and values of the options */
export function imagesForm(photos, fields = []) {
  const form = new FormData();
  for (const photo of photos) form.append("images", photo.file, photo.name);
  for (const [name, value] of fields) form.append(name, value);
  return form;
}

/** Say why a file cannot be sent; "" if it can. One such file would fail the whole request. */
export async function unusable(file, limits) {
  if (file.size > limits.max_image_bytes) {
    const [has, most] = [file.size, limits.max_image_bytes].map((bytes) => (bytes / MIB).toFixed(1));
    return `The file has ${has} MiB. The server accepts at most ${most} MiB.`;
  }
  try {
    await file.slice(0, 1).arrayBuffer();
    return "";
  } catch {
    return "The browser cannot read the file. It may be a folder, or the file was moved.";
  }
}
