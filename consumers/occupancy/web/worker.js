// Shared by all tabs of a browser: one connection to the stream for each token in use.
import { follow } from "./stream.js";

const replay = 60; // as many events as a new connection asks for
const streams = new Map(); // by token

function join(token, port) {
  let stream = streams.get(token);
  if (!stream) {
    stream = { ports: new Set(), latest: [], state: null, status: null };
    streams.set(token, stream);
    stream.connection = follow(token, (said) => {
      if (said.kind !== "message") stream.state = said;
      else if (said.event === "status") stream.status = said;
      else if (said.event === "reset") stream.latest = [];
      else if (said.event === "session" && stream.latest.push(said) > replay) stream.latest.shift();
      for (const p of stream.ports) p.postMessage(said);
    });
  } else for (const said of [stream.state, stream.status, ...stream.latest]) if (said) port.postMessage(said);
  stream.ports.add(port);
  return () => {
    stream.ports.delete(port);
    if (stream.ports.size || streams.get(token) !== stream) return;
    streams.delete(token);
    stream.connection.close();
  };
}

self.onconnect = (e) => {
  const port = e.ports[0];
  let leave = () => {}, current;
  port.onmessage = ({ data }) => {
    if (data.join !== undefined) { leave(); current = data.join; leave = join(current, port); }
    else if (data.now) streams.get(current)?.connection.now();
    else if (data.leave) leave();
  };
  port.addEventListener("close", () => leave()); // the tab has crashed
};
