package main

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// nackResource is what is used of NACK's resources (jetstream.nats.io/v1beta2).
type nackResource struct {
	APIVersion string                `yaml:"apiVersion"`
	Kind       string                `yaml:"kind"`
	Metadata   struct{ Name string } `yaml:"metadata"`
	Spec       struct {
		Account            string            `yaml:"account"`
		Name               string            `yaml:"name"`
		Bucket             string            `yaml:"bucket"`
		Description        string            `yaml:"description"`
		Subjects           []string          `yaml:"subjects"`
		Retention          string            `yaml:"retention"`
		Storage            string            `yaml:"storage"`
		Discard            string            `yaml:"discard"`
		Compression        string            `yaml:"compression"`
		MaxAge             string            `yaml:"maxAge"`
		DuplicateWindow    string            `yaml:"duplicateWindow"`
		Replicas           int               `yaml:"replicas"`
		History            uint8             `yaml:"history"`
		TTL                string            `yaml:"ttl"`
		AllowDirect        bool              `yaml:"allowDirect"`
		AllowAtomicPublish bool              `yaml:"allowAtomicPublish"`
		AllowMsgTTL        bool              `yaml:"allowMsgTtl"`
		MaxMsgsPerSubject  int64             `yaml:"maxMsgsPerSubject"`
		Metadata           map[string]string `yaml:"metadata"`
		PreventDelete      bool              `yaml:"preventDelete"`
		Servers            []string          `yaml:"servers"`
		NKey               map[string]any    `yaml:"nkey"`
		TLS                map[string]any    `yaml:"tls"`
	} `yaml:"spec"`
}

// make does what the controller does with the resource, and returns the name of the
// stream that comes of it.
func (r *nackResource) make(t *testing.T, js jetstream.JetStream) string {
	t.Helper()
	span := func(text string) time.Duration {
		d, err := time.ParseDuration(text)
		if text != "" && err != nil {
			t.Fatal(err)
		}
		return d
	}
	s := &r.Spec
	var err error
	name := s.Name
	switch r.Kind {
	case "Stream":
		if s.Retention != "limits" || s.Storage != "file" || s.Discard != "old" || s.Compression != "none" {
			t.Errorf("%s: %+v", name, s)
		}
		_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
			Name: name, Description: s.Description, Subjects: s.Subjects, Storage: jetstream.FileStorage, MaxAge: span(s.MaxAge),
			Duplicates: span(s.DuplicateWindow), AllowDirect: s.AllowDirect, AllowAtomicPublish: s.AllowAtomicPublish, AllowMsgTTL: s.AllowMsgTTL,
			MaxMsgsPerSubject: s.MaxMsgsPerSubject, Metadata: s.Metadata,
		})
	case "KeyValue":
		name = "KV_" + s.Bucket
		_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: s.Bucket, Description: s.Description, History: s.History, TTL: span(s.TTL)})
	case "ObjectStore":
		name = "OBJ_" + s.Bucket
		_, err = js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: s.Bucket, Description: s.Description})
	default:
		t.Fatalf("kind %q", r.Kind)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return name
}

// TestNACKResourcesDeclareTheSameStreams as deploy/nats/streams does.
func TestNACKResourcesDeclareTheSameStreams(t *testing.T) {
	file, err := os.ReadFile(deployNATS + "nack.yaml")
	if err != nil {
		t.Fatal(err)
	}
	js := jetStreamAt(t, natsServer(t, server.Options{}))
	want := declaredStreams(t)
	for document := range bytes.SplitSeq(file, []byte("\n---\n")) {
		var r nackResource
		if err := yaml.UnmarshalWithOptions(document, &r, yaml.Strict()); err != nil {
			t.Fatal(err)
		}
		if r.Kind == "Account" {
			continue
		}
		name := r.make(t, js)
		stream, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		made := stream.CachedInfo().Config
		made.Replicas = r.Spec.Replicas
		for key := range made.Metadata {
			if strings.HasPrefix(key, "_nats.") {
				delete(made.Metadata, key)
			}
		}
		if len(made.Metadata) == 0 {
			made.Metadata = nil
		}
		if !reflect.DeepEqual(made, want[name]) || r.APIVersion != "jetstream.nats.io/v1beta2" || r.Spec.Account != "guestflow" {
			t.Errorf("%s:\n%+v\nwant\n%+v", name, made, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("no resource for %s", name)
	}
}
