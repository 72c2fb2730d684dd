// Rows of the page: of the locations, the feed, the sessions of a location, the pipelines.
import { bytes, figures, fine, hhmm, make, number, set, shape, span, spark } from "./figures.js";

// placeRow is that of a location in the list, brought up to date by update.
export function placeRow(choose) {
  const name = make("span"), more = make("small"), words = make("span", { className: "hidden" });
  const curve = shape("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" });
  const came = make("b"), went = make("i"), count = make("span", { className: "count" });
  const button = make("button", { type: "button", className: "row", "aria-expanded": "false" }, make("span", { className: "name" }, name, more),
    curve, make("span", { className: "moves", "aria-hidden": "true" }, came, " ", went), count, words);
  button.addEventListener("click", choose);
  const row = make("li", {}, button);
  row.update = (p, called, told, open) => {
    set(name, called); button.title = p.id;
    set(more, told);
    spark(curve, p.recent);
    const { "15m": arrived } = p.arrivals, { "15m": left } = p.departures, online = number.format(p.online);
    set(came, "+" + arrived); set(went, "−" + left);
    if (count.textContent && count.textContent !== online) { count.classList.remove("bump"); void count.offsetWidth; count.classList.add("bump"); }
    set(count, online); count.classList.toggle("none", !p.online);
    button.setAttribute("aria-expanded", String(open));
    set(words, " online, " + arrived + " arrived and " + left + " left in the last 15 minutes");
  };
  return row;
}

// happened is when, at the source; of who was found online, when that was.
export function happened(e) {
  return Date.parse(e.type.includes(".discovered.") || !e.time ? e.data.observed.at : e.time);
}

export const accountOf = (e) => decodeURIComponent(e.source.slice(10));

// entry is the feed's of an event; open tells of its session, where that can be.
export function entry(f, place, open) {
  const e = f.event, s = e.data.session, old = e.data.previous || {};
  let more = "";
  if (f.kind === "traffic" && e.data.change) more = "↓ " + bytes(e.data.change.downloaded_bytes) + " ↑ " + bytes(e.data.change.uploaded_bytes);
  else if (f.kind === "ended") more = s.duration_seconds ? "after " + span(s.duration_seconds) : "";
  else if (old.location_id !== undefined) more = "from " + (old.location_name || old.location_id);
  else if (f.kind === "updated") more = Object.keys(old).filter((k) => !/bytes|duration/.test(k)).map((k) => k.replaceAll("_", " ")).join(", ");
  const guest = e.data.guest || {};
  const who = guest.name || guest.email || (/^•*$/.test(s.device_description || "") ? s.device_mac || s.device_ip || "" : s.device_description);
  const parts = [make("time", { dateTime: new Date(f.at).toISOString(), textContent: hhmm(f.at, true) }), make("span", { className: "kind " + f.kind, textContent: f.kind }),
    make("span", { className: "what" }, s.location_name || (place && place.name) || s.location_id, " ", make("small", { textContent: [who, more].filter(Boolean).join(" · ") }))];
  const row = make("li", {}, opener(open, "event", ...parts));
  if (Date.now() - f.fresh < 600) row.className = "fresh";
  return row;
}

// opener is a button that tells of a session, or the mere text where nothing can.
function opener(open, className, ...parts) {
  if (!open) return make("span", { className }, ...parts);
  const button = make("button", { type: "button", className: className + " opens", title: "Tell all about this session" }, ...parts);
  button.addEventListener("click", open);
  return button;
}

// sessionRow is that of a session in the table; brought up to date by update.
export function sessionRow(s, masked, open) {
  const cell = (className) => make("td", { className });
  const who = [s.guest_name || s.guest_email || s.guest_id || "–", s.guest_name ? s.guest_email || s.guest_id || "" : ""];
  const row = make("tr", {},
    make("td", {}, opener(open, "device", masked ? s.device_mac || "–" : s.device_description || "unknown"), masked ? "" : make("small", { textContent: s.device_mac || "" })),
    make("td", {}, who[0], who[1] && make("small", { textContent: who[1] })), make("td", { textContent: s.device_ip || "–" }), cell("number"), cell("number"));
  row.update = (s, now) => {
    set(row.cells[3], span((now - Date.parse(s.entered_at)) / 1000));
    set(row.cells[4], bytes(s.downloaded_bytes + s.uploaded_bytes));
  };
  return row;
}

export function pipeline(p, several) {
  const list = make("dl", { className: "figures" }), box = make("div", { className: "pipeline" }, make("h3", { textContent: (several ? p.account + " · " : "") + p.state }), list);
  figures(list, [["budget used", Math.round(p.budget_used * 100) + " %", "of " + p.budget_per_minute + "/min"], ["stalest look", fine(p.staleness_seconds), "ago"],
    ["outbox", String(p.outbox_events), p.outbox_events ? "oldest " + fine(p.outbox_age_seconds) : "all sent"],
    ["published", fine(p.delay_p50_seconds), "after start or end; 95 % under " + fine(p.delay_p95_seconds)]]);
  const svg = shape("svg", { viewBox: "0 0 100 5", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(shape("rect", { width: Math.min(100, p.budget_used * 100), height: 5 }));
  list.firstChild.lastChild.append(make("div", { className: "meter" }, svg));
  if (p.last_error) box.append(make("p", { className: "error", textContent: (p.last_error_at ? hhmm(p.last_error_at, true) + " " : "") + p.last_error }));
  return box;
}
