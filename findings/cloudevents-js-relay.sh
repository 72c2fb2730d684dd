#!/bin/sh
# Versions: cloudevents 10.0.0 (the JavaScript SDK), with Node.js 20.20.2.
# A relay that reads an event with HTTP.toEvent and passes it on with HTTP.structured or
# HTTP.binary does not pass on what it got:
# - The time comes out in UTC with three decimals, cut off. Two events 100 ns apart have
#   the same time behind the relay; one that was ordered by it has no order any more.
# - An event without a time, which CloudEvents permits, gets one: that of the relay's clock,
#   which nobody can tell from the time at which it happened.
# - The data 0, false and "" of a structured event are gone, as if there had been none. The
#   SDK itself writes them: new CloudEvent with the data 0 is encoded with it, and loses it
#   when the SDK reads that again. The data 5, true and "x" stay.
# No error, no warning. Guessed before: the attributes are strings and stay as they are, and
# any JSON value is data.
# Needs Node.js and npm. Exits non-zero if it does otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.mjs <<'JS'
import { CloudEvent, HTTP } from "cloudevents";

const event = { specversion: "1.0", id: "1", source: "/wifi", type: "started" };
const headers = { "content-type": "application/cloudevents+json" };
const read = (e) => HTTP.toEvent({ headers, body: JSON.stringify(e) });
const structured = (e) => JSON.parse(HTTP.structured(read(e)).body);

for (const time of ["2026-07-01T12:00:00.1234567+02:00", "2026-07-01T12:00:00.1234568+02:00", "2026-07-01T10:00:00Z"])
  console.log(time, structured({ ...event, time }).time, HTTP.binary(read({ ...event, time })).headers["ce-time"]);
console.log("no time, structured:", "time" in structured(event), "binary:", "ce-time" in HTTP.binary(read(event)).headers);
for (const data of [0, false, "", 5, true, "x"])
  console.log("data", JSON.stringify(data), "in:", "data" in structured({ ...event, data }));
const written = HTTP.structured(new CloudEvent({ ...event, data: 0 }));
console.log("written with", JSON.parse(written.body).data, "and read with", HTTP.toEvent(written).data);
JS
npm install --no-audit --no-fund --loglevel=error cloudevents@10.0.0 >got 2>&1 || { cat got >&2; exit 1; }
node main.mjs >seen
cat >want <<'EOF'
2026-07-01T12:00:00.1234567+02:00 2026-07-01T10:00:00.123Z 2026-07-01T10:00:00.123Z
2026-07-01T12:00:00.1234568+02:00 2026-07-01T10:00:00.123Z 2026-07-01T10:00:00.123Z
2026-07-01T10:00:00Z 2026-07-01T10:00:00.000Z 2026-07-01T10:00:00.000Z
no time, structured: true binary: true
data 0 in: false
data false in: false
data "" in: false
data 5 in: true
data true in: true
data "x" in: true
written with 0 and read with undefined
EOF
cat seen
diff want seen
