// Words and figures of the page: functions of their arguments alone.

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

// arrange makes a list's children those nodes, and moves none that need not be: so what has
// the focus keeps it.
export function arrange(list, nodes) {
  const keep = new Set(nodes);
  for (const node of [...list.children]) if (!keep.has(node)) node.remove();
  nodes.forEach((node, i) => { if (list.children[i] !== node) list.insertBefore(node, list.children[i] || null); });
}

// against says how a count compares with the usual one: what may be chance is as usual.
export function against(online, usual) {
  const more = online - usual, percent = usual ? Math.round(100 * more / usual) : 0;
  if (Math.abs(more) <= 2 * Math.sqrt(Math.max(1, usual))) return "as usual";
  return (more > 0 ? "busier" : "quieter") + " than usual" + (usual >= 1 ? ", " + (more > 0 ? "+" : "−") + Math.abs(percent) + " %" : "");
}

// path of one point is a dot, since its ends are round.
export const path = (points) => "M" + points.join("L") + (points.length === 1 ? "h0" : "");

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
