package webhook

import "bytes"

// HeaderDelivery says that a request is not of the usual kind: replayed or backfilled.
// It is absent from all others. The body has the same as a member "delivery" (an
// extension attribute of CloudEvents, ce-delivery in binary form), which the signature
// covers.
const HeaderDelivery = "Guestflow-Delivery"

// HeaderTraceparent is the Trace Context of an event's message, and as HTTP writes it of
// a request that tells of it.
const (
	HeaderTraceparent  = "traceparent"
	requestTraceparent = "Traceparent"
)

// delivery is a value of HeaderDelivery.
type delivery string

const (
	usual      delivery = ""
	replayed   delivery = "replay"   // a person sends it again, however old it is
	backfilled delivery = "backfill" // found in the platform's history, never seen online
)

// parcel is what one request is made of.
type parcel struct {
	id       string
	of       notice // the document, decoded
	document []byte // of the stream
	delivery delivery
	trace    string // the traceparent of the request; empty for none
}

func parcelOf(n notice, document []byte) parcel {
	p := parcel{id: n.id, of: n, document: document}
	if n.backfilled {
		p.delivery = backfilled
	}
	return p
}

// marked returns a JSON object with how it is delivered as its first member, and the
// rest byte for byte as it was. What is no object stays as it is.
func marked(object []byte, d delivery) []byte {
	rest, ok := bytes.CutPrefix(bytes.TrimLeft(object, " \t\r\n"), []byte("{"))
	if d == usual || !ok {
		return object
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	out := make([]byte, 0, len(object)+24)
	out = append(out, `{"delivery":"`+string(d)+`"`...)
	if !bytes.HasPrefix(rest, []byte("}")) {
		out = append(out, ',')
	}
	return append(out, rest...)
}
