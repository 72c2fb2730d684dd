// Shared by all tabs of a browser: one connection to the stream for each token and group in
// use.
import { follow } from "./stream.js";

const replay = 60; // as many events as a new connection asks for
const streams = new Map(); // by token and group

function join(what, port) {
  const key = what.token + "\n" + what.group;
  let stream = streams.get(key);
  if (!stream) {
    stream = { ports: new Set(), latest: [], state: null, status: null };
    streams.set(key, stream);
    stream.connection = follow(what, (said) => {
      if (said.kind !== "message") stream.state = said;
      else if (said.event === "status") stream.status = said;
      else if (said.event === "reset") stream.latest = [];
      else if (said.event === "session" && stream.latest.push(said) > replay) stream.latest.shift();
      for (const p of stream.ports) p.postMessage(said);
    });
  } else for (const said of [stream.state, stream.status, ...stream.latest]) if (said) port.postMessage(said);
  stream.ports.add(port);
  return { now: () => stream.connection.now(), leave() {
    stream.ports.delete(port);
    if (stream.ports.size || streams.get(key) !== stream) return;
    streams.delete(key);
    stream.connection.close();
  } };
}

self.onconnect = (e) => {
  const port = e.ports[0];
  let joined = null;
  const leave = () => { if (joined) joined.leave(); joined = null; };
  port.onmessage = ({ data }) => {
    if (data.join) { leave(); joined = join(data.join, port); }
    else if (data.now) { if (joined) joined.now(); }
    else if (data.leave) leave();
  };
  port.addEventListener("close", leave); // the tab has crashed
};
