// Words, figures and curves of the page: functions of their arguments alone.

export const number = new Intl.NumberFormat(undefined);
export const hhmm = (t, seconds) => new Date(t).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}), hourCycle: "h23" });
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min";
  return Math.floor(s / 3600) + " h " + String(Math.floor(s % 3600 / 60)).padStart(2, "0");
}
export const fine = (s) => s < 10 ? (Math.round(s * 10) / 10) + " s" : span(s);
export function bytes(n) {
  for (const unit of ["B", "kB", "MB", "GB", "TB"]) {
    if (Math.abs(n) < 1000 || unit === "TB") return (unit === "B" ? n : n.toFixed(n < 10 ? 1 : 0)) + " " + unit;
    n /= 1000;
  }
}

export function make(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") node.setAttribute(name, value); else node[name] = value;
  }
  node.append(...children);
  return node;
}
export function shape(tag, attributes, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
export function set(node, text) { if (node.textContent !== String(text)) node.textContent = text; }

export function figures(list, entries) {
  const old = [...list.children];
  entries.forEach(([name, value, small], i) => {
    const box = old[i] || list.appendChild(make("div", {}, make("dt"), make("dd")));
    set(box.children[0], name);
    const text = value + (small ? " " + small : "");
    if (box.children[1].textContent !== text) box.children[1].replaceChildren(String(value), ...(small ? [" ", make("small", { textContent: small })] : []));
  });
  old.slice(entries.length).forEach((box) => box.remove());
}

// path of one point is a dot, since its ends are round.
const path = (points) => "M" + points.join("L") + (points.length === 1 ? "h0" : "");

export function spark(svg, counts, length = 60, width = 100, height = 28) {
  const list = counts || [], top = Math.max(1, ...list), from = length - list.length;
  const points = list.map((v, i) => ((from + i) * width / (length - 1)).toFixed(1) + " " + (height - 2 - v / top * (height - 4)).toFixed(1));
  if (!points.length) { svg.replaceChildren(); svg.drawn = ""; return; }
  const line = path(points);
  if (svg.drawn === line) return;
  svg.drawn = line;
  const edge = (from * width / (length - 1)).toFixed(1);
  svg.replaceChildren(shape("path", { class: "area", d: line + "L" + width + " " + height + "L" + edge + " " + height + "Z" }), shape("path", { class: "line", d: line }));
}

// chart draws the curve of a location over the given minutes, with the present at
// its right edge, and gives svg the functions show and locate for reading it.
export function chart(svg, past, minutes, place, read) {
  const width = svg.clientWidth || 560, height = 170, left = 34, bottom = 22, top = 8, right = 4;
  const counts = past.online, from = Date.parse(past.from), highest = Math.max(1, ...counts);
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000].find((s) => highest / s <= 4) || highest;
  const ceiling = Math.max(step, Math.ceil(highest / step) * step), end = from + (counts.length - 1) * 60000;
  const begin = end - (minutes - 1) * 60000; // a short past lies at the right
  const x = (t) => left + (t - begin) / (end - begin || 1) * (width - left - right), y = (v) => top + (1 - v / ceiling) * (height - top - bottom);
  const title = svg.querySelector("title"), nodes = [title];
  title.textContent = "Online at " + place + " from " + hhmm(from) + " to " + hhmm(end) + ": now " + counts.at(-1) + ", highest " + highest + ". Use the arrow keys to read it.";
  for (let v = 0; v <= ceiling; v += step) nodes.push(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }), shape("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" }, v));
  const every = [10, 15, 30, 60, 120, 180, 240, 360].find((m) => (end - begin) / 60000 / m <= width / 78) * 60000, zone = new Date().getTimezoneOffset() * 60000;
  for (let t = Math.ceil((begin - zone) / every) * every + zone; t <= end; t += every) nodes.push(shape("text", { x: Math.min(Math.max(x(t), left + 12), width - 16), y: height - 4, "text-anchor": "middle" }, hhmm(t)));
  const line = path(counts.map((v, i) => x(from + i * 60000).toFixed(1) + " " + y(v).toFixed(1)));
  nodes.push(shape("path", { class: "area", d: line + "L" + x(end).toFixed(1) + " " + y(0) + "L" + x(from).toFixed(1) + " " + y(0) + "Z" }), shape("path", { class: "line", d: line }));
  const cursor = shape("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" }), mark = shape("circle", { class: "mark", r: 4, visibility: "hidden" });
  svg.setAttribute("viewBox", "0 0 " + width + " " + height);
  svg.replaceChildren(...nodes, cursor, mark);
  svg.at = undefined;
  svg.show = (i) => {
    svg.at = i === undefined ? undefined : Math.min(Math.max(i, 0), counts.length - 1);
    for (const node of [cursor, mark]) node.setAttribute("visibility", svg.at === undefined ? "hidden" : "visible");
    if (svg.at === undefined) { set(read, ""); return; }
    const t = from + svg.at * 60000;
    cursor.setAttribute("x1", x(t)); cursor.setAttribute("x2", x(t)); mark.setAttribute("cx", x(t)); mark.setAttribute("cy", y(counts[svg.at]));
    set(read, hhmm(t) + ": " + number.format(counts[svg.at]) + " online");
  };
  svg.locate = (px) => Math.round(((px - left) / (width - left - right) * (end - begin) + begin - from) / 60000);
  svg.count = counts.length;
}
