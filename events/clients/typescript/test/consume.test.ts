import assert from "node:assert/strict";
import { test } from "node:test";
import { consume, discard, DurableDiffersError, DurableGoneError, kinds, MemoryRevisions, NoStreamError, NotEventError, retryAfter } from "@guestflow/events";
import { example, Venue } from "./venue.js";

const life = (id: string) => (["started", "traffic", "updated", "ended", "resumed"] as const).map((kind, i) => example(kind, id, i + 1));

test("every event of a session comes, in order, as it is stored", async (t) => {
  const venue = await Venue.open(t);
  await venue.publish(example("discovered", "b", 1), ...life("a"));
  for (const settings of [{ durable: "all" }, {}]) {
    const run = await venue.start({ from: "start", ...settings });
    const all = await run.calls(6);
    await run.end();
    assert.deepEqual(all.map((d) => d.kind), kinds);
    assert.deepEqual(all.map((d) => d.event), [example("discovered", "b", 1), ...life("a")]);
    assert.deepEqual(all.map((d) => d.sequence), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(all.map((d) => d.pending), [5, 4, 3, 2, 1, 0]);
    assert.deepEqual(all.map((d) => d.missing), [0, 0, 0, 0, 0, 0]);
    assert.ok(all.every((d) => d.attempt === 1 && Math.abs(Date.now() - d.stored.getTime()) < 600_000));
  }
});

test("what comes again is skipped, after a restart too where revisions are kept", async (t) => {
  const venue = await Venue.open(t);
  const revisions = new MemoryRevisions();
  await venue.publish(example("started", "a", 1), example("started", "a", 1), example("traffic", "a", 2), example("started", "b", 1));
  const first = await venue.start({ from: "start", revisions });
  await first.calls(3);
  await first.end();
  assert.deepEqual(first.said(), ["a 1 1", "a 2 1", "b 1 1"]);
  await venue.publish(example("started", "c", 1));
  const second = await venue.start({ from: "start", revisions });
  await second.calls(1);
  await second.end();
  assert.deepEqual(second.said(), ["c 1 1"]);
});

test("the same id in another account is another session", async (t) => {
  const venue = await Venue.open(t);
  const other = example("started", "a", 1);
  other.source = "guestflow/second";
  await venue.publish(example("started", "a", 1), other);
  const run = await venue.start({ from: "start" });
  await run.calls(2);
  await run.end();
});

test("a gap shows, unless events are left out on purpose", async (t) => {
  const venue = await Venue.open(t);
  await venue.publish(example("started", "a", 1), example("traffic", "a", 2), example("traffic", "a", 4), example("traffic", "b", 3));
  const whole = await venue.start({ from: "start" });
  assert.deepEqual((await whole.calls(4)).map((d) => d.missing), [0, 0, 1, 2]);
  await whole.end();
  const some = await venue.start({ from: "start", kinds: ["traffic"] });
  assert.deepEqual((await some.calls(3)).map((d) => d.missing), [undefined, undefined, undefined]);
  await some.end();
});

for (const settings of [{ durable: "retries" }, {}]) {
  test(`an event that failed comes again before any later one (${settings.durable ?? "no name"})`, async (t) => {
    const venue = await Venue.open(t);
    await venue.publish(example("started", "busy", 1), example("started", "gone", 1), example("started", "never", 1), example("started", "fine", 1));
    const run = await venue.start({ from: "start", maxDeliver: 3, ...settings }, (d) => {
      if (d.event.subject === "busy" && d.attempt === 1) throw retryAfter(20, new Error("busy"));
      if (d.event.subject === "busy" && d.attempt === 2) throw new Error("busy still");
      if (d.event.subject === "gone") throw discard("has left");
      if (d.event.subject === "never") throw new Error("never\nworks");
    });
    await run.calls(8);
    await run.end();
    assert.deepEqual(run.said(), ["busy 1 1", "busy 1 2", "busy 1 3", "gone 1 1", "never 1 1", "never 1 2", "never 1 3", "fine 1 1"]);
    assert.deepEqual(run.failures.map((f) => [String(f.error), f.final, f.retry]), [
      ["Error: busy", false, 20], ["Error: busy still", false, 1],
      ["has left", true, 0],
      ["Error: never\nworks", false, 1], ["Error: never\nworks", false, 1], ["Error: gave up after 3 attempts: never works", true, 0],
    ]);
  });
}

test("a durable goes on where it was, with what was stored meanwhile", async (t) => {
  const venue = await Venue.open(t);
  await venue.publish(example("started", "before", 1));
  const first = await venue.start({ durable: "crm" });
  await venue.publish(example("started", "a", 1), example("started", "b", 1));
  await first.calls(2);
  await first.end();
  await venue.publish(example("started", "c", 1));
  const second = await venue.start({ durable: "crm", from: "start" });
  await second.calls(1);
  await second.end();
  assert.deepEqual([...first.said(), ...second.said()], ["a 1 1", "b 1 1", "c 1 1"]);
});

test("locations and kinds choose", async (t) => {
  const venue = await Venue.open(t);
  await venue.publish(
    example("started", "a", 1, "pool.bar"), example("started", "b", 1, "pool"), example("traffic", "a", 2, "pool.bar"), example("ended", "a", 3, "pool.bar"));
  const run = await venue.start({ durable: "bar", from: "start", locations: ["pool.bar"], kinds: ["started", "ended"] });
  await run.calls(2);
  await run.end();
  assert.deepEqual(run.said(), ["a 1 1", "a 3 1"]);
});

test("a durable of another choice is refused, unless that may change", async (t) => {
  const venue = await Venue.open(t);
  await (await venue.start({ durable: "crm", kinds: ["started"] })).end();
  await assert.rejects(venue.start({ durable: "crm", kinds: ["ended"] }), (error: Error) =>
    error instanceof DurableDiffersError && /started.*ended.*refilter/.test(error.message));
  const run = await venue.start({ durable: "crm", kinds: ["ended"], refilter: true, ackWait: 5_000 });
  await venue.publish(example("started", "a", 1), example("ended", "b", 2));
  await run.calls(1);
  await run.end();
  assert.deepEqual(run.said(), ["b 2 1"]);
  const { config } = await (await venue.manager()).consumers.info(venue.stream, "crm");
  assert.equal(config.ack_wait, 5_000_000_000);
});

test("what is no event is reported once, and the next one comes", async (t) => {
  const venue = await Venue.open(t);
  const bodies = ["{", "null", `{"specversion":"1.0","id":"1","source":"elsewhere"}`, JSON.stringify({ ...example("started", "a", 1), type: "guestflow.session.left.v1" })];
  for (const body of bodies) await venue.nc.request(`${venue.prefix}.default.lobby.started`, body);
  await venue.publish(example("started", "a", 1));
  const run = await venue.start({ durable: "crm", from: "start" });
  await run.calls(1);
  await run.end();
  assert.equal(run.failures.length, bodies.length);
  assert.ok(run.failures.every((f) => f.error instanceof NotEventError && f.final && f.delivery === undefined));
  const { num_ack_pending, num_pending } = await (await venue.manager()).consumers.info(venue.stream, "crm");
  assert.deepEqual([num_ack_pending, num_pending], [0, 0]);
});

test("an event in hand stays in hand, however long that takes", async (t) => {
  const venue = await Venue.open(t);
  let news = 0;
  let enough = () => {};
  const told = new Promise<void>((resolve) => { enough = resolve; });
  venue.nc.subscribe(`$JS.ACK.${venue.stream}.>`, {
    callback: (_, m) => {
      if (m.string() === "+WPI" && ++news === 9) enough(); // three times ackWait
    },
  });
  const run = await venue.start({ durable: "slow", ackWait: 300 }, (d) => (d.event.subject === "slow" ? told : undefined));
  await venue.publish(example("started", "slow", 1), example("started", "next", 1));
  await run.calls(2);
  await run.end();
  assert.deepEqual(run.said(), ["slow 1 1", "next 1 1"]);
});

test("the signal ends it when the handler in hand is done, and nothing is lost", async (t) => {
  const venue = await Venue.open(t);
  let finish = () => {};
  const run = await venue.start({ durable: "crm" }, () => new Promise<void>((resolve) => { finish = resolve; }));
  await venue.publish(example("started", "a", 1), example("started", "b", 1));
  await run.calls(1);
  const ended = run.end();
  finish();
  await ended;
  const next = await venue.start({ durable: "crm" });
  await next.calls(1);
  await next.end();
  assert.deepEqual([...run.said(), ...next.said()], ["a 1 1", "b 1 1"]);
});

test("a handler that takes too long to end is told so", async (t) => {
  const venue = await Venue.open(t);
  const run = await venue.start({ durable: "crm", grace: 10 }, (_, signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Error("told")))));
  await venue.publish(example("started", "a", 1));
  await run.calls(1);
  await run.end();
  assert.deepEqual(run.failures.map((f) => (f.error as Error).message), ["told"]);
});

test("a handler may take as long as it wants", async (t) => {
  const venue = await Venue.open(t);
  let finish = () => {};
  let told = false;
  const run = await venue.start({ durable: "crm", grace: Infinity }, (_, signal) => new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => { told = true; });
    finish = resolve;
  }));
  await venue.publish(example("started", "a", 1));
  await run.calls(1);
  const ended = run.end();
  await venue.publish(example("started", "b", 1));
  await venue.publish(example("started", "c", 1));
  finish();
  await ended;
  assert.equal(told, false);
});

test("where revisions cannot be kept, the event comes again", async (t) => {
  const venue = await Venue.open(t);
  let fails = 1;
  const revisions = { get: () => 0, set: () => { if (fails-- > 0) throw new Error("disk full"); } };
  const run = await venue.start({ durable: "crm", revisions });
  await venue.publish(example("started", "a", 1));
  await run.calls(2);
  await run.end();
  assert.deepEqual(run.said(), ["a 1 1", "a 1 2"]);
  assert.deepEqual(run.failures.map((f) => (f.error as Error).message), ["disk full"]);
});

test("what is missing ends it, by name", async (t) => {
  const venue = await Venue.open(t);
  for (const durable of [{ durable: "crm" }, {}]) {
    await assert.rejects(venue.start({ ...durable, stream: "ELSEWHERE" }), NoStreamError);
  }
  const deleted = await venue.start({ durable: "crm" });
  await (await venue.manager()).consumers.delete(venue.stream, "crm");
  await assert.rejects(deleted.result, DurableGoneError);
  const both = [await venue.start({ durable: "crm" }), await venue.start({})];
  await (await venue.manager()).streams.delete(venue.stream);
  for (const run of both) await assert.rejects(run.result, NoStreamError);
});

test("a connection that is closed ends it", async (t) => {
  const venue = await Venue.open(t);
  const run = await venue.start({ durable: "crm" });
  await venue.nc.close();
  await assert.rejects(run.result, /connection was closed/);
});

test("wrong settings are refused with what is right", async (t) => {
  const { nc } = await Venue.open(t);
  const wrong = [
    [{ kinds: ["left" as never] }, /"left" is unknown; the kinds are discovered/],
    [{ locations: [""] }, /empty id/],
    [{ ackWait: 10 }, /ackWait is 10; set 100 or more/],
    [{ maxDeliver: -1 }, /maxDeliver is -1/],
    [{ grace: -1 }, /grace is -1/],
  ] as const;
  for (const [settings, message] of wrong) await assert.rejects(consume(nc, settings, () => {}), message);
});
