import assert from "node:assert/strict";
import { test } from "node:test";
import { defaultBackoff, encodeToken, filters, type Event, kindOf, MemoryRevisions } from "@guestflow/events";
import { example } from "./venue.js";

test("tokens are encoded as guestflow does", () => {
  for (const [text, token] of [["default", "default"], ["", "%"], ["pool.bar", "pool%2Ebar"], ["a *>%", "a%20%2A%3E%25"], ["Café", "Caf%C3%A9"], ["\x7f", "%7F"]]) {
    assert.equal(encodeToken(text!), token);
  }
});

test("filters never overlap", () => {
  assert.deepEqual(filters("p", undefined, [], undefined), ["p.*.*.*"]);
  assert.deepEqual(filters("p", "a.b", ["x", "x", "y"], ["started", "ended", "started"]), ["p.a%2Eb.x.ended", "p.a%2Eb.x.started", "p.a%2Eb.y.ended", "p.a%2Eb.y.started"]);
  assert.deepEqual(filters("p", "", [], ["discovered", "started", "traffic", "updated", "ended", "resumed"]), ["p.*.*.*"]);
});

test("the wait doubles up to a minute", () => {
  assert.deepEqual([1, 2, 3, 6, 7, 2_000].map(defaultBackoff), [1_000, 2_000, 4_000, 32_000, 60_000, 60_000]);
});

test("memory keeps the sessions that had the latest events", () => {
  const revisions = new MemoryRevisions(2);
  for (const [session, revision] of [["a", 1], ["b", 1], ["a", 2], ["c", 1]] as const) revisions.set(session, revision);
  assert.deepEqual(["a", "b", "c"].map((s) => revisions.get(s)), [2, undefined, 1]);
});

test("the type of an event tells its kind", () => {
  const event: Event = example("ended", "a", 4);
  assert.equal(kindOf(event), "ended");
  if (event.type !== "guestflow.session.ended.v1") return assert.fail();
  assert.equal(event.data.observed.end, "reported");
});
