// The page: loads the locations, then follows the stream and keeps them current. Text
// from outside is only ever set as text, never as markup.
import { bytes, chart, figures, fine, hhmm, make, number, set, shape, span, spark } from "./figures.js";
import { ask, shared } from "./stream.js";

const $ = (id) => document.getElementById(id);
const kinds = ["started", "resumed", "discovered", "updated", "traffic", "ended"];
const shown = { places: 100, sessions: 50 };
const places = new Map(), totals = new Map(), rows = new Map();
const feed = []; // in the order of the stream
let token = sessionStorage.getItem("guestflow-token") || "";
let selected = "", minutes = 60, paused = false, health = null, source = 0, stream = null, retry = null;
let loaded = false, lost = null, clockAhead = 0, curve = null, dirty = new Set();

// --- the interface -----------------------------------------------------------

// beat is the longest that a living stream is silent, in milliseconds.
const beat = () => 1000 * (health && health.stream.heartbeat_seconds || 15);

const json = (path) => ask(path, token, beat(), (answer) => answer.json());
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } }; // a link may be cut off
const keyOf = (place) => place.account + "\n" + place.id;
const address = (place, rest, query = "") =>
  "v1/locations/" + encodeURIComponent(place.id) + rest + "?account=" + encodeURIComponent(place.account) + query;

async function loadLocations() {
  const all = await json("v1/locations?recent=60");
  places.clear(); totals.clear();
  for (const p of all.locations) places.set(keyOf(p), p);
  for (const t of all.totals) totals.set(t.account, t);
  loaded = true;
  redraw("places", "totals", "detail");
}

async function loadHealth() {
  health = await json("v1/health");
  clockAhead = Date.now() - Date.parse(health.now);
  redraw("health", "state", "access");
}

// --- the stream --------------------------------------------------------------

// heard takes what the stream says, one thing after another: what comes while figures are
// loaded is applied to them afterwards.
let turn = Promise.resolve();
function heard(said) { turn = turn.then(() => take(said)).catch((problem) => console.error(problem)); }

async function take(said) {
  if (said.from !== source) return; // another token's
  if (said.kind === "open") await arrive(said.from);
  else if (said.kind === "lost") lose(said);
  else message(said);
}

function lose({ why, status }) {
  lost = { since: Date.now(), ...lost, reading: status === 503, why, status };
  redraw("state", "places");
}

// arrive loads the figures that the stream goes on from, and tries until it has them.
async function arrive(from) {
  for (let pause = 500; from === source; pause = Math.min(pause * 1.7, 15000)) {
    try {
      await loadHealth();
      await loadLocations();
      lost = null;
      return redraw("state");
    } catch (problem) { lose({ why: problem.message, status: problem.status }); }
    await new Promise((go) => { retry = go; setTimeout(go, pause); });
  }
}

function message({ event, value }) {
  if (event === "session") {
    feed.push({ event: value, kind: value.type.split(".")[2], at: happened(value), fresh: Date.now() });
    if (feed.length > 400) feed.shift();
    redraw("feed");
  } else if (event === "occupancy") {
    for (const p of value.locations) merge(places, keyOf(p), p);
    for (const t of value.totals) merge(totals, t.account, t);
    redraw("places", "totals");
    if (value.locations.some((p) => keyOf(p) === selected)) redraw("detail");
  } else if (event === "status") {
    if (health) Object.assign(health.stream, value);
    redraw("state");
  } else if (event === "reset") loadLocations().catch(() => {});
}

function merge(into, key, fresh) {
  const old = into.get(key), recent = old && old.recent ? old.recent.slice() : [];
  if (recent.length) recent[recent.length - 1] = fresh.online; else recent.push(fresh.online);
  into.set(key, { ...fresh, recent });
}

const now = () => Date.now() - clockAhead; // on the platform's clock
const stayed = (p) => p.dwell.stays ? span(p.dwell.p50_seconds) : "–";
const several = () => totals.size > 1;
const nameOf = (p) => (p.name || p.id) + (several() ? " · " + p.account : "");

// --- drawing -----------------------------------------------------------------

function redraw(...parts) {
  // Nothing is painted in a tab that nobody looks at; but its title tells how things are.
  if (!dirty.size) (document.hidden ? setTimeout : requestAnimationFrame)(paint);
  for (const part of parts) dirty.add(part);
}
function paint() {
  const due = dirty; dirty = new Set();
  for (const part of due) draw[part]();
}
document.addEventListener("visibilitychange", paint);

const sorts = {
  online: (a, b) => b.online - a.online, name: () => 0,
  arrivals: (a, b) => b.arrivals["15m"] - a.arrivals["15m"],
  stay: (a, b) => b.dwell.p50_seconds - a.dwell.p50_seconds,
};

const draw = {
  state() {
    let state = "live", text = "live", banner = "", level = "";
    const stream = health && health.stream;
    const slow = health && health.pipelines.find((p) => p.staleness_seconds > 900 || p.state === "stopped");
    if (lost && lost.status === 401) {
      [state, text, banner] = ["disconnected", "token needed", "This service answers only requests that bear its token. Enter it with the button above."];
    } else if (lost && lost.reading) {
      [state, text, banner] = ["starting", "reading the stream…", lost.why];
    } else if (lost) {
      [state, text, level] = ["disconnected", "disconnected", "bad"];
      banner = "Disconnected since " + hhmm(lost.since, true) + (loaded ? ": the figures below are as of then." : ".") + " Trying again by itself.";
    } else if (stream && stream.state === "disconnected") {
      [state, text, level] = ["disconnected", "stream disconnected", "bad"];
      banner = "The event stream cannot be read; the figures are as of " + hhmm(stream.observed_at, true) + ". " + (stream.error || "");
    } else if (slow) {
      [state, text] = ["stale", "stale"];
      banner = "Account " + slow.account + (slow.state === "stopped" ? " is not polled: " + (slow.last_error || "stopped") : " was last looked at " + span(slow.staleness_seconds) + " ago at its stalest location") + ".";
    } else if (stream && stream.observed_at && now() - Date.parse(stream.observed_at) > 900000 && !health.pipelines.length) {
      [state, text] = ["stale", "quiet"];
      banner = "No event for " + span((now() - Date.parse(stream.observed_at)) / 1000) + ": either nothing happens, or nobody polls.";
    } else if (stream && !stream.exact) {
      banner = "The stream had dropped old events before they were read: sessions that began before may be missing until they change.";
    } else if (!stream) [state, text] = ["starting", "connecting…"];
    $("state").dataset.state = state;
    set($("state-text"), text);
    $("banner").hidden = !banner; $("banner").dataset.level = level; set($("banner"), banner);
    document.title = (state === "live" ? "" : text + " · ") + "guestflow: who is where now";
    if (health) set($("health-word"), lost ? "as of " + hhmm(lost.since, true) : health.stream.state);
    draw.age();
  },
  age() {
    const at = Math.max(0, ...[...totals.values()].map((t) => Date.parse(t.observed_at) || 0));
    set($("age"), at && !lost ? "last change " + (now() - at < 2000 ? "just now" : span((now() - at) / 1000) + " ago") : "");
  },
  access() {
    const full = health.access === "full";
    $("access").hidden = !health.token_helps && !token && !lost;
    set($("access-text"), full ? "shown" : "masked");
    $("access").setAttribute("aria-label", "Personal data: " + (full ? "shown" : "masked") + "; change that");
  },
  totals() {
    const all = [...totals.values()], sum = (f) => all.reduce((n, t) => n + f(t), 0);
    if (!loaded) return;
    set($("total-online"), number.format(sum((t) => t.online)));
    set($("total-devices"), number.format(sum((t) => t.devices)));
    set($("total-guests"), number.format(sum((t) => t.guests)));
    set($("total-arrivals"), number.format(sum((t) => t.arrivals["15m"])));
    set($("total-departures"), number.format(sum((t) => t.departures["15m"])));
    const most = all.slice().sort((a, b) => b.dwell.stays - a.dwell.stays)[0];
    set($("total-stay"), most ? stayed(most) : "–");
    const length = Math.max(0, ...all.map((t) => (t.recent || []).length));
    const sums = Array.from({ length }, (_, i) => sum((t) => (t.recent || [])[i - length + t.recent.length] || 0));
    spark($("total-curve"), sums, 60, 240, 56);
    draw.age();
  },
  places() {
    const wanted = $("search").value.trim().toLocaleLowerCase();
    const by = sorts[$("sort").value];
    const list = [...places.values()].filter((p) => !wanted || (nameOf(p) + " " + p.id).toLocaleLowerCase().includes(wanted))
      .sort((a, b) => by(a, b) || nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }));
    set($("locations-count"), loaded ? number.format(list.length) + (list.length < places.size ? " of " + number.format(places.size) : "") : "");
    set($("places-note"), list.length ? "" : !loaded ? (lost && !lost.reading ? "No figures yet: the service does not answer." : "Reading the stream…")
      : wanted ? "No location matches “" + $("search").value.trim() + "”." : "No location has been seen yet. They appear with their first event.");
    const visible = list.slice(0, shown.places), keep = new Set(visible.map(keyOf));
    for (const [key, row] of rows) if (!keep.has(key)) { row.remove(); rows.delete(key); }
    visible.forEach((p, i) => {
      const key = keyOf(p);
      let row = rows.get(key);
      if (!row) {
        const button = make("button", { type: "button", className: "row", "aria-expanded": "false" }, make("span", { className: "name" }),
          shape("svg", { class: "spark", viewBox: "0 0 100 28", preserveAspectRatio: "none", "aria-hidden": "true" }),
          make("span", { className: "moves", "aria-hidden": "true" }), make("span", { className: "count" }), make("span", { className: "hidden" }));
        button.addEventListener("click", () => choose(selected === key ? "" : key));
        row = make("li", {}, button);
        rows.set(key, row);
      }
      const [name, curve, moves, count, words] = row.firstChild.children;
      set(name, nameOf(p)); name.title = p.id;
      spark(curve, p.recent);
      const came = p.arrivals["15m"], went = p.departures["15m"];
      if (moves.textContent !== "+" + came + " −" + went) moves.replaceChildren(make("b", { textContent: "+" + came }), " ", make("i", { textContent: "−" + went }));
      if (count.textContent && count.textContent !== number.format(p.online)) { count.classList.remove("bump"); void count.offsetWidth; count.classList.add("bump"); }
      set(count, number.format(p.online)); count.classList.toggle("none", !p.online);
      row.firstChild.setAttribute("aria-expanded", String(key === selected));
      set(words, " online, " + came + " arrived and " + went + " left in the last 15 minutes");
      if ($("places").children[i] !== row) $("places").insertBefore(row, $("places").children[i] || null);
    });
    $("more-places").hidden = list.length <= shown.places;
  },
  detail() {
    const p = places.get(selected);
    $("detail").hidden = !p; $("feed-here").disabled = !p;
    if (!p) { if ($("feed-here").checked) { $("feed-here").checked = false; redraw("feed"); } return; }
    set($("detail-title"), nameOf(p));
    const both = (w) => w["5m"] + " / " + w["15m"] + " / " + w["60m"];
    figures($("detail-figures"), [["online", number.format(p.online)], ["devices", number.format(p.devices)], ["guests", number.format(p.guests)],
      ["arrivals", both(p.arrivals), "5/15/60 min"], ["departures", both(p.departures), "5/15/60 min"],
      ["stay", stayed(p), p.dwell.stays ? "median, 90 % under " + span(p.dwell.p90_seconds) : "none finished yet"]]);
    refresh(p);
  },
  curve() { if (curve) chart($("curve"), curve, minutes, $("detail-title").textContent, $("curve-read")); },
  feed() {
    if (paused) { set($("feed-note"), "Paused."); return; }
    const on = new Set([...$("kinds").querySelectorAll(":checked")].map((box) => box.value));
    const here = $("feed-here").checked && places.get(selected);
    const list = feed.filter((f) => on.has(f.kind) && (!here || f.event.data.session.location_id === here.id ||
      (f.event.data.previous || {}).location_id === here.id)).reverse().sort((a, b) => b.at - a.at).slice(0, 80);
    $("feed").replaceChildren(...list.map(entry));
    set($("feed-note"), list.length ? "" : feed.length ? "Nothing of these kinds yet." : "Waiting for the first event…");
  },
  health() {
    const s = health.stream, d = health.detection;
    figures($("health"), [
      ["last event", s.observed_at ? span(s.age_seconds) + " ago" : "none yet"], ["behind", number.format(s.behind), "events"],
      ["starts seen", d.starts ? fine(d.p50_seconds) : "–", d.starts ? "after they happened; 95 % under " + fine(d.p95_seconds) : ""],
      ["events", number.format(s.counters.events), s.counters.gaps ? s.counters.gaps + " after a gap" : ""]]);
    $("pipelines").replaceChildren(...health.pipelines.map(pipeline));
    if (s.error || health.bucket.error) $("pipelines").append(make("p", { className: "error", textContent: s.error || health.bucket.error }));
  },
};

function pipeline(p) {
  const list = make("dl", { className: "figures" }), box = make("div", { className: "pipeline" }, make("h3", { textContent: (health.pipelines.length > 1 ? p.account + " · " : "") + p.state }), list);
  figures(list, [["budget used", Math.round(p.budget_used * 100) + " %", "of " + p.budget_per_minute + "/min"], ["stalest look", fine(p.staleness_seconds), "ago"],
    ["outbox", number.format(p.outbox_events), p.outbox_events ? "oldest " + fine(p.outbox_age_seconds) : "all sent"],
    ["published", fine(p.delay_p50_seconds), "after start or end; 95 % under " + fine(p.delay_p95_seconds)]]);
  const svg = shape("svg", { viewBox: "0 0 100 5", preserveAspectRatio: "none", "aria-hidden": "true" });
  svg.append(shape("rect", { width: Math.min(100, p.budget_used * 100), height: 5 }));
  list.firstChild.lastChild.append(make("div", { className: "meter" }, svg));
  if (p.last_error) box.append(make("p", { className: "error", textContent: (p.last_error_at ? hhmm(p.last_error_at, true) + " " : "") + p.last_error }));
  return box;
}

// happened is when, at the source; of who was found online, when that was.
function happened(e) {
  return Date.parse(e.type.includes(".discovered.") || !e.time ? e.data.observed.at : e.time);
}

function entry(f) {
  const e = f.event, s = e.data.session, old = e.data.previous || {};
  const where = places.get(decodeURIComponent(e.source.slice(10)) + "\n" + s.location_id);
  let more = "";
  if (f.kind === "traffic" && e.data.change) more = "↓ " + bytes(e.data.change.downloaded_bytes) + " ↑ " + bytes(e.data.change.uploaded_bytes);
  else if (f.kind === "ended") more = s.duration_seconds ? "after " + span(s.duration_seconds) : "";
  else if (old.location_id !== undefined) more = "from " + (old.location_name || old.location_id);
  else if (f.kind === "updated") more = Object.keys(old).filter((k) => !/bytes|duration/.test(k)).map((k) => k.replaceAll("_", " ")).join(", ");
  const guest = e.data.guest || {};
  const who = guest.name || guest.email || (/^•*$/.test(s.device_description || "") ? s.device_mac || s.device_ip || "" : s.device_description);
  const row = make("li", {}, make("time", { dateTime: new Date(f.at).toISOString(), textContent: hhmm(f.at, true) }),
    make("span", { className: "kind " + f.kind, textContent: f.kind }),
    make("span", { className: "what" }, s.location_name || (where && where.name) || s.location_id, make("small", { textContent: [who, more].filter(Boolean).join(" · ") })));
  if (Date.now() - f.fresh < 600) row.className = "fresh";
  return row;
}

// --- one location ------------------------------------------------------------

let refreshed = 0, refreshing = null;
function refresh(p) { // at most once in two seconds
  if (refreshing) return;
  refreshing = setTimeout(async () => {
    const key = keyOf(p);
    try {
      const [past, list] = await Promise.all([json(address(p, "/history", "&minutes=" + minutes)), json(address(p, "/sessions", "&limit=" + shown.sessions))]);
      if (key === selected) { curve = past; redraw("curve"); sessions(list, places.get(key) || p); }
    } catch (problem) { if (!lost) set($("sessions-note"), problem.message); }
    refreshed = Date.now(); refreshing = null;
    if (key !== selected) redraw("detail");
  }, Math.max(0, refreshed + 2000 - Date.now()));
}

function sessions(answer, p) {
  set($("sessions-note"), (answer.next ? "the latest " + answer.sessions.length + " of " + p.online : number.format(answer.sessions.length)) + (answer.masked ? ", personal data masked" : ""));
  $("sessions").replaceChildren(...answer.sessions.map((s) => make("tr", {},
    answer.masked ? make("td", { textContent: s.device_mac || "–" }) : make("td", {}, s.device_description || "unknown", make("small", { textContent: s.device_mac || "" })), make("td", {}, s.guest_name || s.guest_email || s.guest_id || "–", make("small", { textContent: s.guest_name ? s.guest_email || s.guest_id || "" : "" })),
    make("td", { textContent: s.device_ip || "–" }), make("td", { className: "number", textContent: span((now() - Date.parse(s.entered_at)) / 1000) }),
    make("td", { className: "number", textContent: bytes(s.downloaded_bytes + s.uploaded_bytes) }))));
  $("more-sessions").hidden = !answer.next;
}

function choose(key) {
  selected = key; curve = null; refreshed = 0; shown.sessions = 50;
  clearTimeout(refreshing); refreshing = null;
  $("sessions").replaceChildren(); $("curve-read").textContent = ""; $("curve").querySelectorAll(":not(title)").forEach((n) => n.remove());
  const hash = key ? "#" + key.split("\n").map(encodeURIComponent).join("/") : " ";
  history.replaceState(null, "", key ? hash : location.pathname + location.search);
  redraw("places", "detail", "feed");
  if (key) requestAnimationFrame(() => requestAnimationFrame(() => {
    if (matchMedia("(max-width: 940px)").matches) $("detail").scrollIntoView({ block: "start" });
    $("detail-title").focus({ preventScroll: true });
  }));
}

// --- hands -------------------------------------------------------------------

for (const kind of kinds) {
  const box = make("input", { type: "checkbox", value: kind, checked: kind !== "traffic" });
  box.addEventListener("change", () => redraw("feed"));
  $("kinds").append(make("label", {}, box, make("span", { textContent: kind })));
}
$("search").addEventListener("input", () => { shown.places = 100; redraw("places"); });
$("sort").addEventListener("change", () => redraw("places"));
$("more-places").addEventListener("click", () => { shown.places += 200; redraw("places"); });
$("more-sessions").addEventListener("click", () => { shown.sessions = Math.min(1000, shown.sessions + 150); refreshed = 0; redraw("detail"); });
$("detail-close").addEventListener("click", () => {
  const row = rows.get(selected);
  choose("");
  if (row) row.firstChild.focus();
});
$("feed-here").addEventListener("change", () => redraw("feed"));
$("feed-pause").addEventListener("click", () => {
  paused = !paused;
  $("feed-pause").setAttribute("aria-pressed", String(paused));
  set($("feed-pause"), paused ? "Go on" : "Pause");
  redraw("feed");
});
function period(chosen) {
  minutes = chosen;
  for (const button of document.querySelectorAll("[data-minutes]")) button.setAttribute("aria-pressed", String(+button.dataset.minutes === minutes));
}
for (const button of document.querySelectorAll("[data-minutes]")) button.addEventListener("click", () => { period(+button.dataset.minutes); refreshed = 0; redraw("detail"); });
$("curve").addEventListener("pointermove", (e) => { if ($("curve").locate) $("curve").show($("curve").locate(e.offsetX)); });
$("curve").addEventListener("pointerleave", () => { if ($("curve").show) $("curve").show(); });
$("curve").addEventListener("keydown", (e) => {
  const svg = $("curve"), by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15, Home: -1e9, End: 1e9 }[e.key];
  if (!by || !svg.show) return;
  e.preventDefault();
  svg.show((svg.at === undefined ? svg.count - 1 : svg.at) + by);
});
addEventListener("resize", () => redraw("curve"));

function connect() {
  const from = ++source;
  if (stream) stream.close();
  stream = shared(token, (said) => heard({ ...said, from }));
}
function again() { // now, since the network has changed
  if (retry) retry();
  stream.now();
}
$("access").addEventListener("click", () => { $("token").value = ""; set($("token-error"), ""); $("token-forget").hidden = !token; $("token-dialog").showModal(); });
$("token-cancel").addEventListener("click", () => $("token-dialog").close());
$("token-forget").addEventListener("click", () => { token = ""; sessionStorage.removeItem("guestflow-token"); $("token-dialog").close(); renew(); });
$("token-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const before = token;
  token = $("token").value.trim();
  try {
    await loadHealth();
    sessionStorage.setItem("guestflow-token", token);
    $("token-dialog").close();
    renew();
  } catch (problem) {
    token = before;
    set($("token-error"), problem.status === 401 ? "This is not the token of this service." : problem.message);
  }
});
function renew() { feed.length = 0; refreshed = 0; redraw("feed", "detail"); connect(); }

// Counts of the last minutes fall, and curves move on, without an event.
setInterval(() => { if (!lost && !document.hidden) loadLocations().catch(() => {}); }, 60000);
setInterval(() => { if (!lost && !document.hidden) loadHealth().catch(() => {}); }, 5000);
setInterval(() => redraw("age"), 1000);
addEventListener("online", again);

period(minutes);
if (location.hash.includes("/")) selected = location.hash.slice(1).split("/").map(decoded).join("\n");
redraw("state", "places", "feed");
connect();
