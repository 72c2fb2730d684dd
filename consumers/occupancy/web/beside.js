// What is told beside who is where: alerts, webhooks, and the story of one session.
import { arrange, hhmm, make, number, set, span } from "./figures.js";

const plural = (n, one, many) => number.format(n) + " " + (n === 1 ? one : many);
const rounded = (n) => number.format(Math.round(10 * n) / 10);

// --- alerts ------------------------------------------------------------------

const counted = (a) => plural(a.value, a.figure.replace(/s$/, ""), a.figure);
const whats = {
  above: (a) => counted(a) + ", alert from " + rounded(a.threshold),
  below: (a) => "only " + counted(a) + ", alert up to " + rounded(a.threshold),
  busier: (a) => counted(a) + ", usually " + rounded(a.usual || 0),
  silent: (a) => "nobody, usually " + rounded(a.usual || a.threshold),
};

// alertRow is that of an alert; open shows its location.
export function alertRow(a, several, open) {
  const what = a.figure === "online" ? { ...a, figure: "sessions" } : a;
  const button = make("button", { type: "button", className: "alert opens" },
    make("b", { textContent: a.rule }), make("span", { className: "where", textContent: (a.location_name || a.location_id) + (several ? " · " + a.account : "") }),
    make("small", { textContent: (whats[a.what] || whats.above)(what) + ", since " + hhmm(a.since) }));
  button.addEventListener("click", open);
  return make("li", {}, button);
}

// --- webhooks ----------------------------------------------------------------

const ago = (at, now) => at ? span((now - Date.parse(at)) / 1000) + " ago" : "";

// hookBox is that of an endpoint: update brings it up to date. letters loads its dead
// letters, again sends one or all (0) of them, and both fail with what is to be told; called
// is the name of a location.
export function hookBox(letters, again, called) {
  const title = make("h3"), text = make("p", { className: "note" }), error = make("p", { className: "error" });
  const summary = make("summary"), all = make("button", { type: "button", className: "quiet", textContent: "Send all again" });
  const list = make("ul", { className: "letters", tabIndex: 0, "aria-label": "Dead letters, oldest first" }), note = make("p", { className: "note", role: "status" });
  const dead = make("details", {}, summary, list, all, note), box = make("div", { className: "pipeline" }, title, text, error, dead);
  let shown = 0, may = false;
  const load = async () => {
    try { arrange(list, (await letters()).dead_letters.map(letter)); } catch (problem) { set(note, problem.message); }
  };
  const send = async (button, sequence) => {
    button.disabled = true;
    set(note, "Sending…");
    try {
      const report = await again(sequence);
      set(note, plural(report.delivered, "event was", "events were") + " taken" + (report.failed ? ", " + report.failed + " not" : "") + (report.error ? ": " + report.error : "."));
    } catch (problem) { set(note, problem.message); }
    button.disabled = false;
    await load();
  };
  const letter = (l) => {
    const one = make("button", { type: "button", className: "quiet", textContent: "Send again", "aria-label": "Send again dead letter " + l.sequence, hidden: !may });
    one.addEventListener("click", () => send(one, l.sequence));
    return make("li", {}, make("span", {}, (l.kind || "event") + " of " + hhmm(l.died_at, true) + (l.location_id ? " at " + called(l.location_id) : ""), make("small", { textContent: l.reason + ", " + plural(l.tries, "try", "tries") })), one);
  };
  all.addEventListener("click", () => send(all, 0));
  dead.addEventListener("toggle", () => { if (dead.open) load(); });
  box.update = (e, now, mayResend, how) => {
    may = mayResend;
    set(title, e.name + " · " + e.state); title.classList.toggle("ill", !e.well);
    set(text, [number.format(e.delivered) + " " + e.stream + " delivered to " + e.host, e.last_success && "last " + ago(e.last_success, now),
      e.waiting && plural(e.waiting, "waits", "wait") + (e.oldest_waiting ? ", the oldest since " + hhmm(e.oldest_waiting) : "")].filter(Boolean).join(", ") + ".");
    set(error, e.last_error ? "Last error" + (e.last_failure ? ", " + ago(e.last_failure, now) : "") + ": " + e.last_error : ""); error.hidden = !e.last_error;
    set(summary, plural(e.dead_letters, "dead letter", "dead letters"));
    dead.hidden = !e.dead_letters && !dead.open; all.hidden = !may || !e.dead_letters;
    if (!may && e.dead_letters) set(note, how);
    if (dead.open && e.dead_letters !== shown) load();
    shown = e.dead_letters;
  };
  return box;
}

// --- a session's story -------------------------------------------------------

// tell fills the dialog's parts with the stories of a session.
export function tell(answer, title, note, list) {
  set(title, "Session " + answer.stories[0].session_id);
  set(note, answer.stories.map((s) => plural(s.events.length, "event", "events") + " of account " + s.account).join(", ") + (answer.masked ? ", personal data masked." : "."));
  arrange(list, answer.stories.flatMap((s) => s.events.map((c) => make("li", {},
    c.missing_before ? make("p", { className: "note", textContent: plural(c.missing_before, "event", "events") + " before this are not in the stream any more." }) : "",
    make("p", {}, make("b", { className: "kind " + c.kind, textContent: c.kind }), " " + c.text),
    ...c.known.map((line) => make("p", { className: "known", textContent: line })),
    ...(c.webhooks || []).map((line) => make("p", { className: "known", textContent: "webhook " + line }))))));
}
