// The page: loads the locations, then follows the stream and keeps them current. Text
// from outside is only ever set as text, never as markup.
import { alertRow, hookBox, tell } from "./beside.js";
import { chart, heat, readable } from "./curves.js";
import { against, arrange, figures, fine, hhmm, make, number, set, span, spark } from "./figures.js";
import { accountOf, entry, happened, pipeline, placeRow, sessionRow } from "./rows.js";
import { ask, shared } from "./stream.js";

const $ = (id) => document.getElementById(id);
const kinds = ["started", "resumed", "discovered", "updated", "traffic", "ended"];
const shown = { places: 100, sessions: 50, alerts: 4 };
const places = new Map(), totals = new Map(), rows = new Map();
const visits = new Map(), raised = new Map(), hooks = new Map(), present = new Map(); // by place, alert, endpoint, session
const feed = []; // in the order of the stream
let token = sessionStorage.getItem("guestflow-token") || "";
let group = "", groups = [], selected = "", minutes = 60, paused = false, health = null, source = 0, stream = null, retry = null;
let loaded = false, lost = null, clockAhead = 0, curve = null, week = null, alerts = [], endpoints = [], dirty = new Set();

// --- the interface -----------------------------------------------------------

// beat is the longest that a living stream is silent, in milliseconds.
const beat = () => 1000 * (health && health.stream.heartbeat_seconds || 15);

const json = (path, body) => ask(path, token, body ? 60000 : beat(), (answer) => answer.json(), undefined, body);
const decoded = (text) => { try { return decodeURIComponent(text); } catch { return text; } }; // a link may be cut off
const keyOf = (place) => place.account + "\n" + place.id;
const address = (place, rest, query = "") =>
  "v1/locations/" + encodeURIComponent(place.id) + rest + "?account=" + encodeURIComponent(place.account) + query;

// ofGroup is a query with the chosen group in it.
const ofGroup = (path, query = {}) => path + "?" + new URLSearchParams(group ? { ...query, group } : query);

async function loadLocations() {
  const all = await json(ofGroup("v1/locations", { recent: 60 }));
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

const tells = (part) => health !== null && health.parts.includes(part);

// loadBeside loads what the process tells of beside who is where.
async function loadBeside() {
  const part = async (name, take) => take(tells(name) ? await json(name === "webhooks" ? "v1/webhooks" : ofGroup("v1/" + name)) : null);
  await Promise.all([
    part("visits", (all) => { visits.clear(); for (const v of all ? [...all.locations, ...all.totals] : []) visits.set(keyOf({ id: "", ...v }), v); }),
    part("alerts", (all) => { alerts = all ? all.alerts : []; }),
    part("webhooks", (all) => { endpoints = all ? all.endpoints : []; }),
  ]);
  redraw("totals", "places", "alerts", "webhooks", "detail");
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
  if (status === 404 && group) { // there is no such group any more
    group = "";
    return connect();
  }
  lost = { since: Date.now(), ...lost, reading: status === 503, why, status };
  redraw("state", "places");
}

// arrive loads the figures that the stream goes on from, and tries until it has them.
async function arrive(from) {
  for (let pause = 500; from === source; pause = Math.min(pause * 1.7, 15000)) {
    try {
      await loadHealth();
      groups = (await json("v1/groups")).groups;
      redraw("groups");
      await loadLocations();
      lost = null;
      loadBeside().catch(() => {});
      return redraw("state");
    } catch (problem) { lose({ why: problem.message, status: problem.status }); }
    await new Promise((go) => { retry = go; setTimeout(go, pause); });
  }
}

function message({ event, value }) {
  if (event === "session") {
    if (value.data.observed.backfilled) return; // long past
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
  into.set(key, { ...old, ...fresh, recent });
}

const now = () => Date.now() - clockAhead; // on the platform's clock
const visitsOf = (p) => visits.get(keyOf(p)) || { visits: 0, first: 0, returning: 0, unknown: 0 };
const firsts = (n) => n === 1 ? "1 first-timer" : number.format(n) + " first-timers";
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
  visits: (a, b) => visitsOf(b).visits - visitsOf(a).visits,
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
  groups() {
    const options = (list, depth) => list.flatMap((g) => [make("option", { value: g.id, textContent: "\u00a0\u00a0".repeat(depth) + g.name }), ...options(g.groups, depth + 1)]);
    $("groups").hidden = !groups.length;
    $("group").replaceChildren(make("option", { value: "", textContent: "all groups" }), ...options(groups, 0));
    $("group").value = group;
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
    const today = all.map((t) => visitsOf({ account: t.account, id: "" })), count = (f) => today.reduce((n, v) => n + f(v), 0);
    for (const box of document.querySelectorAll(".today")) box.hidden = !tells("visits");
    set($("total-visits"), number.format(count((v) => v.visits))); set($("total-firsts"), number.format(count((v) => v.first)));
    const usual = [...places.values()].map((p) => p.usual && p.usual.online);
    set($("total-usual"), usual.length && usual.every((n) => n !== undefined) ? "usually " + number.format(Math.round(usual.reduce((a, b) => a + b, 0))) : "");
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
    for (const key of rows.keys()) if (!keep.has(key)) rows.delete(key);
    visible.forEach((p) => {
      const key = keyOf(p);
      if (!rows.has(key)) rows.set(key, placeRow(() => choose(selected === key ? "" : key)));
      const today = tells("visits") && visitsOf(p).visits ? number.format(visitsOf(p).visits) + " visits today, " + visitsOf(p).first + " first" : "";
      rows.get(key).update(p, nameOf(p), [today, p.usual && against(p.online, p.usual.online)].filter(Boolean).join(" · "), key === selected);
    });
    arrange($("places"), visible.map((p) => rows.get(keyOf(p))));
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
      ["stay", stayed(p), p.dwell.stays ? "median, 90 % under " + span(p.dwell.p90_seconds) : "none finished yet"],
      ...(tells("visits") ? [["visits today", number.format(visitsOf(p).visits), firsts(visitsOf(p).first)]] : []),
      ...(p.usual ? [["usual at this hour", number.format(Math.round(10 * p.usual.online) / 10), against(p.online, p.usual.online)]] : [])]);
    refresh(p);
  },
  curve() {
    if (!curve) return;
    const place = $("detail-title").textContent;
    chart($("curve"), curve, minutes, place, $("curve-read"), week);
    const known = heat($("week"), week, now(), place, $("week-read"));
    if (!known) set($("week-read"), "Not known yet: it takes a day of watching, or guestflow backfill; for each weekday on its own two weeks.");
    set($("week-zone"), known ? week.zone : "");
  },
  alerts() {
    $("alerts").hidden = !tells("alerts");
    set($("alerts-count"), alerts.length ? number.format(alerts.length) : "");
    set($("alerts-note"), alerts.length ? "" : "None is open.");
    const old = new Map(raised);
    raised.clear();
    for (const a of alerts.slice(0, shown.alerts)) raised.set(a.id, old.get(a.id) || alertRow(a, several(), () => choose(keyOf({ account: a.account, id: a.location_id }))));
    arrange($("alerts-list"), [...raised.values()]);
    $("more-alerts").hidden = alerts.length <= shown.alerts;
  },
  webhooks() {
    $("webhooks").hidden = !tells("webhooks");
    arrange($("endpoints"), endpoints.map((e) => {
      const at = "v1/webhooks/" + encodeURIComponent(e.name);
      if (!hooks.has(e.name)) hooks.set(e.name, hookBox(() => json(at + "/dead"), async (sequence) => {
        try { return await json(at + "/redeliver", sequence ? { sequence } : { all: true }); } finally { loadBeside().catch(() => {}); }
      }, (id) => ([...places.values()].find((p) => p.id === id) || { name: "" }).name || id));
      const box = hooks.get(e.name);
      box.update(e, Date.now(), health.may_redeliver, health.token_helps ? "With the token they can be sent again." : "They can be sent again from the machine that guestflow runs on, or with a token.");
      return box;
    }));
    set($("webhooks-note"), endpoints.length ? "" : "The file has no endpoints.");
  },
  feed() {
    if (paused) { set($("feed-note"), "Paused."); return; }
    const on = new Set([...$("kinds").querySelectorAll(":checked")].map((box) => box.value));
    const here = $("feed-here").checked && places.get(selected);
    const list = feed.filter((f) => on.has(f.kind) && (!here || f.event.data.session.location_id === here.id ||
      (f.event.data.previous || {}).location_id === here.id)).reverse().sort((a, b) => b.at - a.at).slice(0, 80);
    arrange($("feed"), list.map((f) => {
      const s = f.event.data.session, account = accountOf(f.event);
      f.row ||= entry(f, places.get(account + "\n" + s.location_id), tells("stories") && (() => story(account, s)));
      return f.row;
    }));
    set($("feed-note"), list.length ? "" : feed.length ? "Nothing of these kinds yet." : "Waiting for the first event…");
  },
  health() {
    const s = health.stream, d = health.detection;
    figures($("health"), [
      ["last event", s.observed_at ? span(s.age_seconds) + " ago" : "none yet"], ["behind", number.format(s.behind), "events"],
      ["starts seen", d.starts ? fine(d.p50_seconds) : "–", d.starts ? "after they happened; 95 % under " + fine(d.p95_seconds) : ""],
      ["events", number.format(s.counters.events), s.counters.gaps ? s.counters.gaps + " after a gap" : ""]]);
    $("pipelines").replaceChildren(...health.pipelines.map((p) => pipeline(p, health.pipelines.length > 1)));
    if (s.error || health.bucket.error) $("pipelines").append(make("p", { className: "error", textContent: s.error || health.bucket.error }));
  },
};

// --- one location ------------------------------------------------------------

let refreshed = 0, refreshing = null;
function refresh(p) { // at most once in two seconds
  if (refreshing) return;
  refreshing = setTimeout(async () => {
    const key = keyOf(p);
    try {
      const [past, list, hours] = await Promise.all([json(address(p, "/history", "&minutes=" + minutes)), json(address(p, "/sessions", "&limit=" + shown.sessions)), json(address(p, "/week"))]);
      if (key === selected) { curve = past; week = hours; redraw("curve"); sessions(list, places.get(key) || p); }
    } catch (problem) { if (!lost) set($("sessions-note"), problem.message); }
    refreshed = Date.now(); refreshing = null;
    if (key !== selected) redraw("detail");
  }, Math.max(0, refreshed + 2000 - Date.now()));
}

function sessions(answer, p) {
  set($("sessions-note"), (answer.next ? "the latest " + answer.sessions.length + " of " + p.online : number.format(answer.sessions.length)) + (answer.masked ? ", personal data masked" : ""));
  const old = new Map(present);
  present.clear();
  arrange($("sessions"), answer.sessions.map((s) => {
    const key = s.id + answer.masked + s.revision, row = old.get(key) || sessionRow(s, answer.masked, tells("stories") && (() => story(p.account, s)));
    present.set(key, row);
    row.update(s, now());
    return row;
  }));
  $("more-sessions").hidden = !answer.next;
}

// story tells all about one session: from an hour before it began, since clocks differ.
async function story(account, s) {
  set($("story-title"), "Session " + s.id); set($("story-note"), "Reading the stream…"); $("story-list").replaceChildren();
  $("story").showModal();
  const since = s.started_at ? "&since=" + encodeURIComponent(new Date(Date.parse(s.started_at) - 3600000).toISOString()) : "";
  try {
    tell(await json("v1/sessions/" + encodeURIComponent(s.id) + "/story?account=" + encodeURIComponent(account) + since), $("story-title"), $("story-note"), $("story-list"));
  } catch (problem) { set($("story-note"), problem.message); }
}

function choose(key) {
  selected = key; curve = null; week = null; refreshed = 0; shown.sessions = 50;
  clearTimeout(refreshing); refreshing = null;
  for (const svg of [$("curve"), $("week")]) svg.querySelectorAll(":not(title)").forEach((n) => n.remove());
  $("sessions").replaceChildren(); set($("curve-read"), ""); set($("week-read"), "");
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
$("group").addEventListener("change", () => { group = $("group").value; renew(); });
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
readable($("curve"), { ArrowLeft: -1, ArrowRight: 1, PageUp: -15, PageDown: 15 });
readable($("week"), { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -24, ArrowDown: 24 });
$("more-alerts").addEventListener("click", () => { shown.alerts = 100; redraw("alerts"); });
$("story-close").addEventListener("click", () => $("story").close());
addEventListener("resize", () => redraw("curve"));

function connect() {
  const from = ++source;
  if (stream) stream.close();
  stream = shared({ token, group }, (said) => heard({ ...said, from }));
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
function renew() { feed.length = 0; hooks.clear(); refreshed = 0; redraw("feed", "detail"); connect(); }

// Counts of the last minutes fall, and curves move on, without an event.
setInterval(() => { if (!lost && !document.hidden) loadLocations().catch(() => {}); }, 60000);
setInterval(() => { if (!lost && !document.hidden) loadHealth().catch(() => {}); }, 5000);
setInterval(() => { if (!lost && !document.hidden) loadBeside().catch(() => {}); }, 10000);
setInterval(() => redraw("age"), 1000);
addEventListener("online", again);

period(minutes);
if (location.hash.includes("/")) selected = location.hash.slice(1).split("/").map(decoded).join("\n");
redraw("state", "places", "feed");
connect();
