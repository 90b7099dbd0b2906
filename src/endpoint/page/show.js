// How things are said and shown. Everything that comes from others becomes text, never markup, link or style.

const CHARS_SHOWN = 4000;      // of one message, before "Show all"
const BYTES_SHOWN = 64;        // of a binary message
const HUES = 8;                // of avatars, as in style.css

const CLOSES = {
  1000: "closed normally", 1001: "the server is going away", 1002: "a protocol error",
  1006: "the connection was lost or refused", 1007: "invalid text", 1008: "against a limit of the server",
  1009: "a message was too large", 1011: "an error inside the server", 1012: "the server restarts",
  1013: "try again later", 1015: "a TLS failure", 3000: "closed by the server", 3001: "the server is shutting down",
  3004: "an error inside the server", 3005: "the connection expired", 3006: "a subscription expired",
  3008: "this page reads too slowly", 3009: "a write failed", 3010: "this page has missed something",
  3011: "the server asks to come back", 3012: "no answer to a ping", 3013: "too many requests",
  3014: "the state was invalidated", 3500: "the token is invalid", 3501: "a bad request", 3502: "too slow to say hello",
  3503: "the server asks to stay away", 3504: "too many connections", 3505: "too many rooms",
  3506: "inappropriate protocol", 3507: "permission denied", 3508: "not available", 3509: "too many errors",
};

const ERRORS = {
  100: "an error inside the server", 101: "unauthorized", 102: "no such room", 103: "permission denied",
  104: "the server cannot do this", 105: "already in the room", 106: "over a limit", 107: "a bad request",
  108: "not available in this room", 109: "the token has expired", 110: "expired", 111: "too many requests",
  112: "the room does not hold that position any more",
};

const UNSUBSCRIBES = {
  2000: "the server took this page out of the room", 2500: "this page has missed something",
  2501: "the subscription expired", 2502: "the state was invalidated",
};

/** A code of the protocol in words, with the other side's own. */
export function codeWords(code, reason = "") {
  const words = CLOSES[code] ?? ERRORS[code] ?? UNSUBSCRIBES[code];
  if (!code) return reason || "the connection was lost";
  const said = reason && reason !== words ? `: ${reason}` : "";
  return `${words ?? "closed"} (${code}${said})`;
}

export const counted = (count, one, many = `${one}s`) => `${count.toLocaleString()} ${count === 1 ? one : many}`;

export function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

export function button(text, onClick) {
  const made = element("button", "inline", text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** Sets a text only if it changes, so that it is not read out again. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** A moment, ms since 1970: the time, and the day unless it is today. */
export function when(ms) {
  const date = new Date(ms);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** Who that is: the name it gave itself, or the start of its connection's id. */
export function nameOf(info) {
  if (!info) return "No sender";
  return info.user || `anonymous ${shortId(info.client ?? "")}`;
}

// Long ids are random from the start on; short ones differ anywhere.
const shortId = (id) => (id.length > 16 ? id.slice(0, 8) : id);

export function avatar(info) {
  const name = nameOf(info);
  const made = element("span", "avatar", info?.user ? [...name.trim()][0]?.toUpperCase() ?? "?" : info ? "?" : "–");
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  made.dataset.hue = info ? hash % HUES : "none";
  made.ariaHidden = "true";
  return made;
}

/**
 * What a publication holds: { kind: "text" | "json" | "binary", text, label? }. The page itself publishes
 * {"text": "..."}; others may publish any JSON. What is not JSON comes as a string, and the tag `form` says what it is.
 */
export function contentOf({ data, tags }) {
  if (tags?.form === "base64" && typeof data === "string") return binary(data);
  if (tags?.form === "text" && typeof data === "string") return { kind: "text", text: data };
  const keys = data && typeof data === "object" ? Object.keys(data) : [];
  if (keys.length === 1 && typeof data.text === "string") return { kind: "text", text: data.text };
  return { kind: "json", label: "JSON", text: JSON.stringify(data, null, 2) ?? "nothing" };
}

function binary(base64) {
  let bytes;
  try {
    bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return { kind: "json", label: "not the base64 it is said to be", text: JSON.stringify(base64) };
  }
  const start = Array.from(bytes.subarray(0, BYTES_SHOWN), (byte) => byte.toString(16).padStart(2, "0"));
  if (bytes.length > BYTES_SHOWN) start.push("…");
  return { kind: "binary", label: `Binary, ${counted(bytes.length, "byte")}`, text: start.join(" ") };
}

/** The block with a content, with a button for the rest if it is long. */
export function contentBlock({ kind, text, label }) {
  const block = element("div", `content ${kind}`);
  if (label) block.append(element("span", "label", label));
  const body = element("div", "body", text === "" ? "(empty)" : text);
  body.dir = "auto";
  block.append(body);
  if (text.length > CHARS_SHOWN) {
    body.textContent = `${text.slice(0, CHARS_SHOWN)}…`;
    const more = button(`Show all ${text.length.toLocaleString()} characters`, () => {
      body.textContent = text;
      more.remove();
    });
    block.append(more);
  }
  return block;
}
