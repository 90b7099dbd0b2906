// Numbers as people read them, and tables.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const compact = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) => whole.format(value);

export const rate = (value) => {
  if (value >= 100_000) return compact.format(value);
  return value >= 100 || Number.isInteger(value) ? whole.format(value) : tenth.format(value);
};

export const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? whole.format(value) : tenth.format(value)} ${units[unit]}`;
};

export const microseconds = (value) => {
  if (value < 1000) return `${whole.format(value)} µs`;
  if (value < 1_000_000) return `${tenth.format(value / 1000)} ms`;
  return `${tenth.format(value / 1_000_000)} s`;
};

export const milliseconds = (value) => (value === null ? "" : microseconds(value * 1000));

export const duration = (value) => {
  const seconds = Math.floor(value / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
};

export const clock = (unixMs) => new Date(unixMs).toLocaleTimeString("en-GB");

// A cell: its text, its class and, of a bar, how much of the width it takes.
function cell([text, className = "", share = null]) {
  const element = document.createElement("td");
  element.className = className;
  if (share !== null) {
    const bar = document.createElement("div");
    bar.style.width = `${Math.round(share * 100)}%`;
    element.append(bar);
    return element;
  }
  element.textContent = text;
  if (className.includes("name")) element.title = text;
  return element;
}

// Shows rows under heads, or says that there is none.
export function table(place, heads, rows, none) {
  if (rows.length === 0) {
    const words = document.createElement("p");
    words.className = "none";
    words.textContent = none;
    place.replaceChildren(words);
    return;
  }
  const head = document.createElement("tr");
  head.append(...heads.map(([text, className = ""]) => {
    const element = document.createElement("th");
    element.className = className;
    element.scope = "col";
    element.textContent = text;
    return element;
  }));
  const [thead, tbody, whole] = ["thead", "tbody", "table"].map((name) => document.createElement(name));
  thead.append(head);
  tbody.append(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell));
    return row;
  }));
  whole.append(thead, tbody);
  place.replaceChildren(whole);
}
