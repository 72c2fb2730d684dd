import { kinds as all, type Kind } from "./event.js";

/**
 * Percent-encodes the bytes of an account or location that NATS could misread, as
 * guestflow does: `pool.bar` is `pool%2Ebar`.
 */
export function encodeToken(text: string): string {
  if (text === "") return "%";
  let token = "";
  for (const byte of new TextEncoder().encode(text)) {
    const literal = byte > 0x20 && byte < 0x7f && !".*>%".includes(String.fromCharCode(byte));
    token += literal ? String.fromCharCode(byte) : "%" + byte.toString(16).toUpperCase().padStart(2, "0");
  }
  return token;
}

/** The subjects of the chosen events; they never overlap. Empty and undefined mean all. */
export function filters(prefix: string, account?: string, locations?: readonly string[], kinds?: readonly Kind[]): string[] {
  const distinct = (list: readonly string[]) => (list.length > 0 ? [...new Set(list)].sort() : ["*"]);
  const chosen = distinct(kinds ?? []);
  const tails = chosen.length === all.length ? ["*"] : chosen;
  const places = distinct((locations ?? []).map(encodeToken));
  const of = account ? encodeToken(account) : "*";
  return places.flatMap((place) => tails.map((kind) => `${prefix}.${of}.${place}.${kind}`));
}
