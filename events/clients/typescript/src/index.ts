export { consume, defaultBackoff } from "./consume.js";
export type { Delivery, Failure, From, Settings } from "./consume.js";
export { decode, kinds, kindOf } from "./event.js";
export type { EventOf, Kind } from "./event.js";
export { discard, DurableDiffersError, DurableGoneError, NoStreamError, NotEventError, retryAfter } from "./errors.js";
export { MemoryRevisions, sessionOf } from "./revisions.js";
export type { Revisions } from "./revisions.js";
export { encodeToken, filters } from "./subjects.js";
export type * from "./types.js";
