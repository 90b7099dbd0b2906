// A line plot over the latest minutes, with a legend of the latest values or of those under the pointer.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300;
const HEIGHT = 100;
// What a plot reaches over: it grows with what there is.
const SPAN_MS_MIN = 60_000;
export const SPAN_MS_MAX = 300_000;
// A longer silence between two points is a gap in the line.
const GAP_MS = 5000;

const svg = (name, attributes = {}) => {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  return element;
};

const html = (name, className, text = "") => {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
};

// The lowest of 1, 2, 5, 10, 20, 50 … that is not below `value`; with a `unit` of 1024 of B, KiB, MiB and so on.
export function roundUp(value, unit = 1) {
  if (!(value > 1)) return 1;
  const units = unit > 1 ? unit ** Math.floor(Math.log(value) / Math.log(unit)) : 1;
  const power = units * 10 ** Math.floor(Math.log10(value / units));
  const round = [1, 2, 5, 10].map((factor) => factor * power).find((round) => round >= value * 0.999999);
  return unit > 1 ? Math.min(round, units * unit) : round;
}

export class Plot {
  // `names` are those of the series; `show` makes text of a value, which `unit` is for as in `roundUp`.
  constructor(section, names, show, unit = 1) {
    this.show = show;
    this.unit = unit;
    this.spanMs = SPAN_MS_MIN;
    this.title = section.querySelector("h2").textContent;
    this.points = [];
    const legend = html("dl", "legend");
    this.values = names.map((name, at) => {
      const entry = html("div", `series-${at}`);
      const value = html("dd", "", "–");
      entry.append(html("dt", "", name), value);
      legend.append(entry);
      return value;
    });
    this.names = names;
    const canvas = html("div", "canvas");
    this.svg = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    for (const y of [0, HEIGHT / 2, HEIGHT]) this.svg.append(svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y, y2: y }));
    this.lines = names.map((_, at) => svg("path", { class: `series-${at}` }));
    this.cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, visibility: "hidden" });
    this.svg.append(...this.lines, this.cursor);
    this.scale = html("span", "scale");
    this.span = html("span", "span");
    canvas.append(this.svg, this.scale, this.span);
    section.append(legend, canvas);
    this.pointer = null;
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerdown", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    this.pointer = event && box.width > 0 ? (event.clientX - box.left) / box.width : null;
    this.label();
  }

  // `points` are `{ time, values }` by time; a value of null is none.
  draw(points) {
    this.points = points;
    const values = points.flatMap((point) => point.values).filter((value) => value !== null);
    const top = roundUp(Math.max(0, ...values), this.unit);
    this.end = points.length > 0 ? points[points.length - 1].time : 0;
    const reaches = points.length > 0 ? this.end - points[0].time : 0;
    this.spanMs = Math.min(SPAN_MS_MAX, Math.max(SPAN_MS_MIN, reaches));
    const seconds = Math.round(this.spanMs / 1000);
    this.span.textContent = `−${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} min`;
    const x = (time) => (WIDTH * (1 - (this.end - time) / this.spanMs)).toFixed(2);
    const y = (value) => (HEIGHT * (1 - value / top)).toFixed(2);
    this.lines.forEach((line, at) => {
      let path = "";
      let before = null;
      for (const { time, values } of points) {
        if (values[at] === null) {
          before = null;
          continue;
        }
        const follows = before !== null && time - before <= GAP_MS;
        path += `${follows ? "L" : "M"}${x(time)} ${y(values[at])}`;
        if (!follows) path += "h.01";
        before = time;
      }
      line.setAttribute("d", path);
    });
    this.scale.textContent = this.show(top);
    this.label();
  }

  label() {
    let shown = this.points[this.points.length - 1];
    if (this.pointer !== null && shown) {
      const time = this.end - this.spanMs * (1 - this.pointer);
      const distance = (point) => Math.abs(point.time - time);
      shown = this.points.reduce((nearest, point) => (distance(point) < distance(nearest) ? point : nearest));
    }
    this.cursor.setAttribute("visibility", this.pointer === null ? "hidden" : "visible");
    if (this.pointer !== null) {
      const at = String(WIDTH * Math.min(1, Math.max(0, this.pointer)));
      this.cursor.setAttribute("x1", at);
      this.cursor.setAttribute("x2", at);
    }
    const texts = this.values.map((_, at) => {
      const value = shown?.values[at] ?? null;
      return value === null ? "–" : this.show(value);
    });
    this.values.forEach((element, at) => { element.textContent = texts[at]; });
    this.svg.setAttribute("aria-label", `${this.title}: ${this.names.map((name, at) => `${name} ${texts[at]}`).join(", ")}`);
  }
}
