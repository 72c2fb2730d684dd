// Made from events/schemas/draft-07/events.v1.json: GUESTFLOW_NODE=1 go test -run TestGenerators ./events -update

/**
 * An event of any kind, for code generators. The schema of each kind, in draft 2020-12, has all rules.
 */
export type Event = DiscoveredEvent | StartedEvent | TrafficEvent | UpdatedEvent | EndedEvent | ResumedEvent;
/**
 * confirmed: the platform's answer is of a connection that began when the session did, and before the session was seen at its address. likely: one of the two.
 */
export type Sureness = "confirmed" | "likely";
/**
 * reported: by the platform, with its figures. inferred: proven absent, between not_yet_at and at. presumed: the platform's lists have no order, and many did not show it.
 */
export type End = "reported" | "inferred" | "presumed";
/**
 * What proves the end; absent where it is presumed. record: the platform's own of the session. list: one of who is online does not have the session. address: the look-up by IP address, asked twice, does not have its connection any more.
 */
export type Proof = "record" | "list" | "address";

/**
 * CloudEvents 1.0 structured JSON: a session that was online already when tracking of its location began.
 */
export interface DiscoveredEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.discovered.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:discovered:v1";
  data: DiscoveredData;
}
export interface DiscoveredData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode?: number;
  session: Session;
  guest?: Guest;
  observed: Observed;
}
/**
 * The session after the change. What the platform does not tell, or the privacy settings drop, is absent.
 */
export interface Session {
  id: string;
  location_id: string;
  location_name?: string;
  guest_id?: string;
  yas_id?: string;
  /**
   * aa:bb:cc:dd:ee:ff, or a pseudonym.
   */
  device_mac?: string;
  /**
   * Canonical text form, or a pseudonym.
   */
  device_ip?: string;
  device_description?: string;
  access_code?: string;
  login_type?: string;
  service_profile?: string;
  online: boolean;
  started_at?: string;
  ended_at?: string;
  duration_seconds?: number;
  downloaded_bytes?: number;
  uploaded_bytes?: number;
}
/**
 * Who the session belongs to; only where guestflow is configured to look guests up, and observed.guest says how sure it is. Any value may be a pseudonym.
 */
export interface Guest {
  username?: string;
  name?: string;
  email?: string;
}
/**
 * How the change is known, by the platform's clock.
 */
export interface Observed {
  /**
   * When the change was seen.
   */
  at: string;
  /**
   * The latest time at which it had not happened yet.
   */
  not_yet_at?: string;
  rounding: Rounding;
  /**
   * No list of online sessions ever showed the session; it was found in the history.
   */
  backfilled?: boolean;
  guest?: Sureness;
  end?: End;
  proof?: Proof;
}
/**
 * The true figures lie within these errors, in bytes, of the session's; absent for a figure that is not known.
 */
export interface Rounding {
  downloaded_bytes?: number;
  uploaded_bytes?: number;
}
/**
 * CloudEvents 1.0 structured JSON: a session came online.
 */
export interface StartedEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.started.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:started:v1";
  data: StartedData;
}
export interface StartedData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode?: number;
  session: Session;
  guest?: Guest;
  observed: Observed;
}
/**
 * CloudEvents 1.0 structured JSON: the byte figures of a session moved.
 */
export interface TrafficEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.traffic.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:traffic:v1";
  data: TrafficData;
}
export interface TrafficData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode?: number;
  session: Session;
  previous: Previous;
  change: Change;
  observed: Observed;
}
/**
 * The old values of what changed; a figure that was not known has none.
 */
export interface Previous {
  location_id?: string;
  location_name?: string;
  guest_id?: string;
  yas_id?: string;
  /**
   * aa:bb:cc:dd:ee:ff, or a pseudonym.
   */
  device_mac?: string;
  /**
   * Canonical text form, or a pseudonym.
   */
  device_ip?: string;
  device_description?: string;
  access_code?: string;
  login_type?: string;
  service_profile?: string;
  started_at?: string;
  duration_seconds?: number;
  downloaded_bytes?: number;
  uploaded_bytes?: number;
}
/**
 * New minus old, which counts as zero where it was not known. With reset the platform began to count anew: negative figures are not traffic.
 */
export interface Change {
  downloaded_bytes: number;
  uploaded_bytes: number;
  reset?: boolean;
}
/**
 * CloudEvents 1.0 structured JSON: another attribute of a session changed.
 */
export interface UpdatedEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.updated.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:updated:v1";
  data: UpdatedData;
}
export interface UpdatedData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode?: number;
  session: Session;
  previous: Previous;
  change?: Change;
  observed: Observed;
}
/**
 * CloudEvents 1.0 structured JSON: a session is proven gone.
 */
export interface EndedEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.ended.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:ended:v1";
  data: EndedData;
}
export interface EndedData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode?: number;
  session: Session;
  previous?: Previous;
  change?: Change;
  observed: Observed;
}
/**
 * CloudEvents 1.0 structured JSON: a session is online again after its end.
 */
export interface ResumedEvent {
  specversion: "1.0";
  /**
   * The same change always has the same id, another change never does.
   */
  id: string;
  /**
   * guestflow/ and the path-escaped account.
   */
  source: string;
  type: "guestflow.session.resumed.v1";
  /**
   * The session's id, as in data.session.id.
   */
  subject: string;
  /**
   * When the change happened at the source, as far as known.
   */
  time: string;
  datacontenttype: "application/json";
  dataschema: "urn:guestflow:session:resumed:v1";
  data: ResumedData;
}
export interface ResumedData {
  /**
   * Counts the events of one session: 1, 2, 3 … without gaps.
   */
  revision: number;
  /**
   * How often the session came back online; absent means 0.
   */
  episode: number;
  session: Session;
  guest?: Guest;
  previous?: Previous;
  change?: Change;
  observed: Observed;
}
