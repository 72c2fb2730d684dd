// The curve of a location, and its week: drawn as SVG, and read by pointer or arrow keys.
import { hhmm, number, path, set, shape } from "./figures.js";

const fine = (n) => number.format(n < 10 ? Math.round(n * 10) / 10 : Math.round(n));
const names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

// hourOf tells the hour of the week of a time in a zone, from Monday 00:00 on.
function hourOf(zone) {
  let words;
  const settings = { weekday: "short", hour: "2-digit", hourCycle: "h23", timeZone: zone };
  try { words = new Intl.DateTimeFormat("en-GB", settings); } catch { words = new Intl.DateTimeFormat("en-GB", { ...settings, timeZone: "UTC" }); }
  return (t) => {
    const parts = Object.fromEntries(words.formatToParts(t).map((p) => [p.type, p.value]));
    return 24 * names.indexOf(parts.weekday) + Number(parts.hour);
  };
}

// usualOver lists what is usual from a time to another, by the hour.
function usualOver(week, begin, end) {
  if (!week) return [];
  const hour = hourOf(week.zone), present = hour(end), list = [], half = 1800000; // zones begin at half hours, too
  for (let from = begin; from < end; from = (Math.floor(from / half) + 1) * half) {
    const h = hour(from), online = h === present && week.now ? week.now.online : week.hours[h];
    if (online !== null) list.push({ from, to: Math.min(end, (Math.floor(from / half) + 1) * half), online });
  }
  return list;
}

// chart draws the curve of a location over the given minutes, with the present at
// its right edge and what is usual, where the week has it, as a broken line. It gives svg
// the functions show and locate for reading it.
export function chart(svg, past, minutes, place, read, week) {
  const width = svg.clientWidth || 560, height = 170, left = 34, bottom = 22, top = 8, right = 4;
  const counts = past.online, from = Date.parse(past.from), end = from + (counts.length - 1) * 60000;
  const begin = end - (minutes - 1) * 60000; // a short past lies at the right
  const usual = usualOver(week, begin, end), highest = Math.max(1, ...counts, ...usual.map((u) => u.online));
  const step = [1, 2, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000].find((s) => highest / s <= 4) || highest;
  const ceiling = Math.max(step, Math.ceil(highest / step) * step);
  const x = (t) => left + (t - begin) / (end - begin || 1) * (width - left - right), y = (v) => top + (1 - v / ceiling) * (height - top - bottom);
  const title = svg.querySelector("title"), nodes = [title];
  title.textContent = "Online at " + place + " from " + hhmm(from) + " to " + hhmm(end) + ": now " + counts.at(-1) + ", highest " + Math.max(...counts) + (usual.length ? ", usually " + fine(usual.at(-1).online) + " at this hour" : "") + ". Use the arrow keys to read it.";
  for (let v = 0; v <= ceiling; v += step) nodes.push(shape("line", { class: "grid", x1: left, x2: width - right, y1: y(v), y2: y(v) }), shape("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" }, v));
  const every = [10, 15, 30, 60, 120, 180, 240, 360].find((m) => (end - begin) / 60000 / m <= width / 78) * 60000, zone = new Date().getTimezoneOffset() * 60000;
  for (let t = Math.ceil((begin - zone) / every) * every + zone; t <= end; t += every) nodes.push(shape("text", { x: Math.min(Math.max(x(t), left + 12), width - 16), y: height - 4, "text-anchor": "middle" }, hhmm(t)));
  const line = path(counts.map((v, i) => x(from + i * 60000).toFixed(1) + " " + y(v).toFixed(1)));
  nodes.push(shape("path", { class: "area", d: line + "L" + x(end).toFixed(1) + " " + y(0) + "L" + x(from).toFixed(1) + " " + y(0) + "Z" }), shape("path", { class: "line", d: line }));
  if (usual.length) nodes.push(shape("path", { class: "usual", d: usual.map((u) => "M" + x(u.from).toFixed(1) + " " + y(u.online).toFixed(1) + "H" + x(u.to).toFixed(1)).join("") }));
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
    const then = usual.find((u) => t >= u.from && t <= u.to);
    set(read, hhmm(t) + ": " + number.format(counts[svg.at]) + " online" + (then ? ", usually " + fine(then.online) : ""));
  };
  svg.locate = (px) => Math.round(((px - left) / (width - left - right) * (end - begin) + begin - from) / 60000);
  svg.count = counts.length;
}

// heat draws what is usual in each hour of the week, Monday first, and says whether any of
// it is known. It gives svg the functions show and locate for reading it.
export function heat(svg, week, now, place, read) {
  const known = week.hours.filter((n) => n !== null);
  svg.toggleAttribute("hidden", !known.length);
  if (!known.length) return false;
  const width = svg.clientWidth || 560, left = 34, top = 16, cell = (width - left) / 24, high = 15, most = Math.max(...known, 1);
  const at = hourOf(week.zone)(now), best = week.hours.indexOf(Math.max(...known));
  const said = (h) => names[h / 24 | 0] + " " + String(h % 24).padStart(2, "0") + ":00: " + (week.hours[h] === null ? "not known yet" : "usually " + fine(week.hours[h]) + " online");
  const title = svg.querySelector("title"), nodes = [title];
  title.textContent = "The usual week at " + place + ", hour by hour. Most: " + said(best) + ". Use the arrow keys to read it.";
  for (let h = 0; h < 24; h += 3) nodes.push(shape("text", { x: left + h * cell, y: 10 }, String(h).padStart(2, "0")));
  names.forEach((name, day) => nodes.push(shape("text", { x: left - 7, y: top + day * (high + 2) + 11.5, "text-anchor": "end" }, name)));
  week.hours.forEach((n, h) => nodes.push(shape("rect", {
    class: h === at ? "cell now" : "cell", x: left + h % 24 * cell, y: top + (h / 24 | 0) * (high + 2), width: Math.max(1, cell - 2), height: high, rx: 2,
    "fill-opacity": n === null ? 0 : (.06 + .94 * n / most).toFixed(2),
  })));
  const mark = shape("rect", { class: "mark", width: Math.max(1, cell - 2), height: high, rx: 2, visibility: "hidden" });
  svg.setAttribute("viewBox", "0 0 " + width + " " + (top + 7 * (high + 2)));
  svg.replaceChildren(...nodes, mark);
  svg.at = undefined; svg.count = week.hours.length; svg.begin = at;
  svg.show = (h) => {
    svg.at = h === undefined ? undefined : Math.min(Math.max(h, 0), 167);
    mark.setAttribute("visibility", h === undefined ? "hidden" : "visible");
    if (h === undefined) { set(read, ""); return; }
    mark.setAttribute("x", left + svg.at % 24 * cell); mark.setAttribute("y", top + (svg.at / 24 | 0) * (high + 2));
    set(read, said(svg.at));
  };
  svg.locate = (px, py) => 24 * Math.min(6, Math.max(0, Math.floor((py - top) / (high + 2)))) + Math.min(23, Math.max(0, Math.floor((px - left) / cell)));
  return true;
}

// readable lets pointer and arrow keys read a curve; steps are those of the keys.
export function readable(svg, steps) {
  svg.addEventListener("pointermove", (e) => { if (svg.locate) svg.show(svg.locate(e.offsetX, e.offsetY)); });
  svg.addEventListener("pointerleave", () => { if (svg.show) svg.show(); });
  svg.addEventListener("keydown", (e) => {
    const by = { Home: -1e9, End: 1e9, ...steps }[e.key];
    if (!by || !svg.show) return;
    e.preventDefault();
    svg.show((svg.at === undefined ? svg.begin ?? svg.count - 1 : svg.at) + by);
  });
}
