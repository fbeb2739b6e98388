/** Requests to the API: deadline, busy server, API key, and errors in words. */

const MAX_ATTEMPTS = 6; // of a request to a busy server
const MARGIN_MS = 15_000; // for sending photos, besides the time that the server takes

/**
 * A request without a usable response. `message` is for the visitor.
 *
 * - results: errors by photo, if the server could use none
 * - general: whether other requests would fail for the same reason
 */
export class ApiError extends Error {
  constructor(message, { results = null, general = false } = {}) {
    super(message);
    this.results = results;
    this.general = general;
  }
}

/** The address of a path of the API; relative to the page, so that it works behind a prefix. */
export const addressOf = (path) => new URL(path, document.baseURI).href;

export class Api {
  #key = "";
  #asking = null;
  #timeoutMs;
  #askForKey;
  #notice;

  /**
   * @param {number} timeoutS the server's deadline of a request, in seconds
   * @param {(refused: boolean) => Promise<string>} askForKey resolves to "" if the visitor has none
   * @param {(words: string) => void} notice called with what the visitor waits for
   */
  constructor(timeoutS, askForKey, notice) {
    this.#timeoutMs = timeoutS * 1000 + MARGIN_MS;
    this.#askForKey = askForKey;
    this.#notice = notice;
  }

  get hasKey() {
    return this.#key !== "";
  }

  get(path) {
    return this.#request(path, { method: "GET" });
  }

  post(path, form) {
    return this.#request(path, { method: "POST", body: form });
  }

  async #request(path, options) {
    for (let attempt = 1; ; attempt += 1) {
      const key = this.#key;
      const answer = await this.#fetch(path, options, key);
      if (answer.status === 200 && answer.content) return answer.content;
      if (answer.status === 401) {
        await this.#renewKey(key);
      } else if (answer.status === 429 && attempt < MAX_ATTEMPTS) {
        await this.#wait(answer.retryAfterS);
      } else {
        throw problem(answer);
      }
    }
  }

  async #fetch(path, options, key) {
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), this.#timeoutMs);
    try {
      const response = await fetch(addressOf(path), {
        ...options,
        headers: key ? { "X-API-Key": key } : {},
        signal: controller.signal,
      });
      const text = await response.text();
      const retryAfterS = Math.max(1, Number(response.headers.get("Retry-After")) || 1);
      return { status: response.status, retryAfterS, content: parse(text) };
    } catch {
      const words = controller.signal.aborted
        ? `The server did not answer within ${Math.round(this.#timeoutMs / 1000)} seconds.`
        : "The server does not answer. Check that it still runs, then try again.";
      throw new ApiError(words, { general: true });
    } finally {
      clearTimeout(timer);
    }
  }

  async #wait(seconds) {
    this.#notice(`The server is busy. The page tries again in ${seconds} s.`);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    this.#notice("");
  }

  /** Ask for a key, once for all requests that wait for it. */
  async #renewKey(usedKey) {
    if (this.#key !== usedKey) return; // another request has asked
    this.#asking ??= this.#askForKey(usedKey !== "").finally(() => (this.#asking = null));
    const key = await this.#asking;
    if (!key) throw new ApiError("The server needs an API key.", { general: true });
    this.#key = key;
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // of a proxy, or cut off
  }
}

/** Turn a problem document, or another response, into words. */
function problem({ status, content }) {
  if (status === 429) {
    return new ApiError("The server is still busy. Try again later.", { general: true });
  }
  if (content?.title) {
    return new ApiError(`${content.title}: ${content.detail}.`, {
      results: content.results ?? null,
      general: status === 503,
    });
  }
  return new ApiError(`The response has status ${status} and cannot be read. A proxy may have sent it.`);
}
