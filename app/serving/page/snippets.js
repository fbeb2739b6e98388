/** A call of the API as curl and as Python. No document here. */

/**
 * A call:
 * - address: of the endpoint
 * - photo: {name, sampleAddress}
 * - fields: names and values of the options
 * - hasKey: whether the server needs an API key; it is read from MUMIC_API_KEY
 */

const quoteShell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`);

// JSON's strings are Python's too.
const quotePython = (text) => JSON.stringify(text);

/** curl reads ; and , in a file name as syntax, unless the name is in double quotes. */
function curlFile(name) {
  if (/^[\w.][\w .-]*$/.test(name)) return `images=@${name}`;
  return `images=@"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

export function curlCall({ address, photo, fields, hasKey }) {
  const lines = [`curl ${quoteShell(address)}`];
  if (hasKey) lines.push('-H "X-API-Key: $MUMIC_API_KEY"');
  lines.push(`-F ${quoteShell(curlFile(photo.name))}`);
  for (const [name, value] of fields) lines.push(`--form-string ${quoteShell(`${name}=${value}`)}`);
  const call = lines.join(" \\\n  ");
  return photo.sampleAddress ? `curl -sSO ${quoteShell(photo.sampleAddress)}\n${call}` : call;
}

export function pythonCall({ address, photo, fields, hasKey }) {
  const name = quotePython(photo.name);
  const read = photo.sampleAddress
    ? `photo = httpx.get(${quotePython(photo.sampleAddress)}).raise_for_status().content`
    : `photo = Path(${name}).read_bytes()`;
  const imports = [hasKey ? "import os" : "", photo.sampleAddress ? "" : "from pathlib import Path"];
  const standard = imports.filter((line) => line);
  const options = [`files={"images": (${name}, photo)},`];
  if (fields.length) options.push(`data=${pythonData(fields)},`);
  if (hasKey) options.push('headers={"X-API-Key": os.environ["MUMIC_API_KEY"]},');
  options.push("timeout=60,");
  return [
    ...standard,
    ...(standard.length ? [""] : []),
    "import httpx",
    "",
    read,
    "response = httpx.post(",
    `    ${quotePython(address)},`,
    ...options.map((option) => `    ${option}`),
    ")",
    "response.raise_for_status()",
    "print(response.json())",
  ].join("\n");
}

function pythonData(fields) {
  const values = new Map();
  for (const [name, value] of fields) values.set(name, [...(values.get(name) ?? []), value]);
  const entries = [...values].map(([name, all]) => {
    const written = all.map(quotePython);
    const repeated = name === "labels" || all.length > 1;
    return `${quotePython(name)}: ${repeated ? `[${written.join(", ")}]` : written[0]}`;
  });
  return `{${entries.join(", ")}}`;
}
