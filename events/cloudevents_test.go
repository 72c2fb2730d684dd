package events

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestDecodeUndoesEncode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent().Draw(t, "event")
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(body)
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if !reflect.DeepEqual(got, e) {
			t.Fatalf("decoded\n%#v\nwant\n%#v\n%s", got, e, body)
		}
	})
}

// TestEncodeWritesWhatTheTagsSay holds the hand-written encoder to the struct
// tags, which are what readers of the code and of Go programs go by.
func TestEncodeWritesWhatTheTagsSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := genEvent().Draw(t, "event")
		body, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		var envelope struct{ Data json.RawMessage }
		if err := json.Unmarshal(body, &envelope); err != nil {
			t.Fatal(err)
		}
		var want bytes.Buffer
		encoder := json.NewEncoder(&want)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(e.Data); err != nil {
			t.Fatal(err)
		}
		var a, b any
		if err := json.Unmarshal(envelope.Data, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(want.Bytes(), &b); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("encoded\n%s\nwant\n%s", envelope.Data, want.Bytes())
		}
	})
}

func benchmarkEvent() Event {
	old := sample().Data.Session
	e := sample()
	e.Kind = Traffic
	e.Data.Revision = 7
	e.Data.Session.Downloaded.Value += 1_250_000
	e.Data.Previous = e.Data.Session.Replaced(&old)
	e.Data.Change = &Change{DownloadedBytes: 1_250_000}
	return e.Sealed()
}

func BenchmarkEncode(b *testing.B) {
	e := benchmarkEvent()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

func BenchmarkDecode(b *testing.B) {
	body, err := Encode(benchmarkEvent())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Decode(body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
