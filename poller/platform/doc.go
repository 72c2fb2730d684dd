// Package platform is the client of the guest Wi-Fi platform's API: its three
// documented endpoints (list, count, look-up by IP address) and the list of
// locations. It decodes and normalises records into events.Session, and applies
// the privacy settings before anything leaves it.
//
// It is strict where identity matters and tolerant elsewhere: a record without
// id or location is skipped and counted, with what could be read of it, and any
// other field may be null, missing, empty, of another type or new. A figure, time,
// duration or status that cannot be read is counted by its name, and unknown rather
// than zero; where one value may mean two things, the account's others decide (see
// dialect). Pages are asked for by number; what an answer
// links to is never followed, and neither are redirects, so the token goes to the
// configured host alone. Of the project it imports events alone. Data comes from the
// platform over HTTP and goes to the poller.
package platform
