// The connection to /v1/stream: read with fetch rather than EventSource, so that a token
// travels in a header and never in an address, and so that a connection which has died
// without a word is noticed. Runs in the page or, for all of its tabs, in a worker.

// purge has the browser leave connections that have died without a word: it keeps up to six
// to a host, and would try one after the other.
let purging = null;
function purge() {
  purging ||= Promise.all(Array.from({ length: 6 }, async () => {
    const one = new AbortController(), late = setTimeout(() => one.abort(), 2000);
    try { await (await fetch("icon.svg", { cache: "no-store", signal: one.signal })).arrayBuffer(); } catch { /* it is left now */ } finally { clearTimeout(late); }
  })).then(() => { purging = null; });
}

// ask gets what is at a path, or with a body posts that, and gives up on a connection that
// has died without a word (in milliseconds): a browser would wait for as long as the kernel
// does.
export async function ask(path, token, wait, read, connection = new AbortController(), body = undefined, headers = {}) {
  const post = body && { method: "POST", body: JSON.stringify(body) };
  if (body) headers["Content-Type"] = "application/json";
  if (token) headers["Guestflow-Token"] = token; // Authorization may be a proxy's
  const late = setTimeout(() => { connection.abort(new Error("no answer came")); purge(); }, Math.max(5000, wait));
  try {
    const answer = await fetch(path, { ...post, signal: connection.signal, headers, cache: "no-cache", credentials: "same-origin" });
    if (answer.ok) return await read(answer);
    let why = answer.statusText;
    try { why = (await answer.json()).detail || why; } catch { /* the status says enough */ }
    throw Object.assign(new Error(why), { status: answer.status });
  } finally { clearTimeout(late); }
}

// follow reads the stream with a token and of a group ("" for none) until close is called,
// connecting anew by itself. tell gets, in order:
//   {kind: "open"}                      connected
//   {kind: "message", event, id, value} of the stream
//   {kind: "lost", why, status}         not connected; tried again after a while
export function follow({ token, group }, tell) {
  let lastId = "", beat = 15000, connection, wake, hurry = false, closed = false;

  function connect() {
    connection = new AbortController();
    const query = new URLSearchParams({ ...(group && { group }), ...(!lastId && { replay: 60 }) });
    return ask("v1/stream?" + query, token, beat, (answer) => answer.body.getReader(), connection, undefined, lastId ? { "Last-Event-ID": lastId } : {});
  }

  async function read(reader) {
    const text = new TextDecoder();
    let rest = "", silence;
    const heard = () => { clearTimeout(silence); silence = setTimeout(() => { connection.abort(new Error("the connection has died")); purge(); }, 2 * beat); };
    try {
      for (heard(); ;) {
        const { value, done } = await reader.read();
        if (done) throw new Error("the service closed the connection");
        const parts = (rest + text.decode(value, { stream: true })).split("\n\n");
        rest = parts.pop();
        for (const part of parts) message(part);
        heard(); // by what the messages said of silences
      }
    } finally { clearTimeout(silence); }
  }

  function message(part) {
    let event = "message", data = "", id = "";
    for (const line of part.split("\n")) {
      if (line.startsWith("id: ")) id = line.slice(4);
      else if (line.startsWith("event: ")) event = line.slice(7);
      else if (line.startsWith("data: ")) data += line.slice(6);
    }
    if (!data) return;
    const value = JSON.parse(data);
    if (event === "session") lastId = id;
    else if (event === "status") beat = 1000 * value.heartbeat_seconds || beat;
    else if (event === "reset") lastId = "";
    else if (event === "dropped") {
      if (value.reason.includes("anew")) lastId = "";
      throw new Error(value.reason);
    }
    tell({ kind: "message", event, id, value });
  }

  (async () => {
    for (let pause = 500; !closed; pause = Math.min(pause * 1.7, 15000)) {
      try {
        const reader = await connect();
        pause = 500;
        tell({ kind: "open" });
        await read(reader);
      } catch (problem) {
        if (closed) return;
        if (hurry) { hurry = false; continue; }
        tell({ kind: "lost", why: problem.message, status: problem.status });
      }
      await new Promise((go) => { wake = go; setTimeout(go, pause); });
      wake = null;
    }
  })();

  return {
    // now connects anew at once, since the network has changed.
    now() { if (wake) wake(); else { hurry = true; connection.abort(); } },
    close() { closed = true; connection.abort(); if (wake) wake(); },
  };
}

// shared follows the stream through the worker that all tabs of the browser share, since
// it allows six connections to a host over HTTP/1.1 and each open stream holds one; where
// there is no such worker (older phones), by a connection of its own.
export function shared(what, tell) {
  const alone = () => follow(what, tell);
  if (!self.SharedWorker) return alone();
  let port, instead;
  const join = () => {
    const worker = new SharedWorker("worker.js", { type: "module", name: "guestflow" });
    port = worker.port;
    worker.onerror = () => { leave(); instead = alone(); }; // it could not be loaded
    port.onmessage = (e) => tell(e.data);
    port.postMessage({ join: what });
  };
  const leave = () => { if (port) { port.onmessage = null; port.postMessage({ leave: true }); port = null; } };
  // A page that the browser puts aside, to show it again on "back", is none meanwhile.
  const aside = () => leave(), back = (e) => { if (e.persisted) join(); };
  join();
  addEventListener("pagehide", aside);
  addEventListener("pageshow", back);
  return {
    now() { if (instead) instead.now(); else if (port) port.postMessage({ now: true }); },
    close() {
      leave();
      if (instead) instead.close();
      removeEventListener("pagehide", aside); removeEventListener("pageshow", back);
    },
  };
}
