/** The stream does not exist, or was deleted while it was read. */
export class NoStreamError extends Error {
  override name = "NoStreamError";
  constructor(stream: string, options?: ErrorOptions) {
    super(`stream ${stream} not found: start guestflow, which creates it, or set stream to its name`, options);
  }
}

/** The durable was deleted while it was read. */
export class DurableGoneError extends Error {
  override name = "DurableGoneError";
  constructor(durable: string, stream: string, options?: ErrorOptions) {
    super(`durable ${durable} of stream ${stream} was deleted: consume again to create it anew, from where \`from\` says`, options);
  }
}

/** A consumer of that name exists that chooses other events or works in another way. */
export class DurableDiffersError extends Error {
  override name = "DurableDiffersError";
  constructor(durable: string, stream: string, how: string) {
    super(`durable ${durable} of stream ${stream} differs: ${how}`);
  }
}

/** A message that is not a guest session event. */
export class NotEventError extends Error {
  override name = "NotEventError";
}

/** What a handler throws to say what becomes of the event. */
export class Verdict extends Error {
  constructor(readonly reason: unknown, readonly retry: number | "never") {
    super(reason instanceof Error ? reason.message : String(reason), { cause: reason });
  }
}

/**
 * For a handler to throw where no later attempt can go better: the event is not
 * delivered to this consumer again.
 */
export function discard(reason: unknown): Error {
  return new Verdict(reason, "never");
}

/**
 * For a handler to throw that knows when the next attempt is worth making, in
 * milliseconds, for instance from a Retry-After header.
 */
export function retryAfter(milliseconds: number, reason: unknown): Error {
  return new Verdict(reason, Math.max(0, milliseconds));
}
