package webhook

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/guestflow/guestflow/events/visits"
)

// demand checks a request as a service's published reference says that it must be, and
// returns the status that the service answers to one that is right.
type demand func(h http.Header, body map[string]any) (status int, err error)

// at is the value at a path of objects and, by number, lists; nil where there is none.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[p]
		case int:
			list, _ := v.([]any)
			if p >= len(list) {
				return nil
			}
			v = list[p]
		}
	}
	return v
}

// only reports members that a strict service does not know.
func only(v any, names ...string) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%v is no object", v)
	}
	for name := range object {
		if !slices.Contains(names, name) {
			return fmt.Errorf("unknown member %q", name)
		}
	}
	return nil
}

// all is the first error.
func all(checks ...error) error {
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

func equal(what string, got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s is %v, want %v", what, got, want)
	}
	return nil
}

func isTime(v any) error {
	_, err := time.Parse(time.RFC3339, fmt.Sprint(v))
	return err
}

const testMail = "ada@example.com"

// recipes are the files of examples, with where they send and what is demanded there.
var recipes = map[string]struct {
	host   string
	path   string
	demand demand
}{
	// developers.hubspot.com: batch/upsert of contacts; unknown properties are refused.
	"hubspot": {"https://api.hubapi.com", "/crm/v3/objects/contacts/batch/upsert", func(h http.Header, body map[string]any) (int, error) {
		input := at(body, "inputs", 0)
		return http.StatusOK, all(
			equal("Authorization", h.Get("Authorization"), "Bearer pat-x"), equal("Content-Type", h.Get("Content-Type"), "application/json"),
			only(body, "inputs"), only(input, "id", "idProperty", "properties", "objectWriteTraceId"),
			equal("idProperty", at(input, "idProperty"), "email"), equal("id", at(input, "id"), testMail),
			only(at(input, "properties"), "email", "firstname", "lastname", "wifi_venue", "last_wifi_visit"),
			equal("firstname", at(input, "properties", "firstname"), "Ada"), equal("lastname", at(input, "properties", "lastname"), "von <Example> & Co"),
			isTime(at(input, "properties", "last_wifi_visit")))
	}},
	// developers.klaviyo.com: Create Event, in JSON:API, with the header revision.
	"klaviyo": {"https://a.klaviyo.com", "/api/events", func(h http.Header, body map[string]any) (int, error) {
		a := at(body, "data", "attributes")
		revision := regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`).MatchString(h.Get("revision"))
		return http.StatusAccepted, all(
			equal("Authorization", h.Get("Authorization"), "Klaviyo-API-Key pk_x"), equal("revision is a date", revision, true),
			equal("Content-Type", h.Get("Content-Type"), "application/vnd.api+json"), only(body, "data"), only(at(body, "data"), "type", "attributes"),
			equal("type", at(body, "data", "type"), "event"), only(a, "properties", "time", "value", "value_currency", "unique_id", "metric", "profile"),
			equal("metric", at(a, "metric", "data", "type"), "metric"), equal("name", at(a, "metric", "data", "attributes", "name"), "Visited venue"),
			equal("profile", at(a, "profile", "data", "type"), "profile"), equal("email", at(a, "profile", "data", "attributes", "email"), testMail),
			equal("unique_id", at(a, "unique_id"), h.Get("webhook-id")), isTime(at(a, "time")))
	}},
	// mailchimp.com/developer: Batch subscribe or unsubscribe.
	"mailchimp": {"https://us21.api.mailchimp.com", "/3.0/lists/a1b2c3d4e5", func(h http.Header, body map[string]any) (int, error) {
		m := at(body, "members", 0)
		return http.StatusOK, all(
			equal("Authorization", h.Get("Authorization"), "Basic Z3Vlc3RmbG93Ong="), only(body, "members", "update_existing", "sync_tags"),
			equal("update_existing", at(body, "update_existing"), false), equal("email_address", at(m, "email_address"), testMail),
			equal("status", at(m, "status"), "pending"), only(m, "email_address", "email_type", "status", "merge_fields", "tags"),
			equal("FNAME", at(m, "merge_fields", "FNAME"), "Ada"))
	}},
	// docs.slack.dev: incoming webhooks; &, < and > are escaped.
	"slack": {"https://hooks.slack.com", "/services/T0123/B4567/key", func(h http.Header, body map[string]any) (int, error) {
		return http.StatusOK, all(
			equal("Content-Type", h.Get("Content-Type"), "application/json"), only(body, "text", "blocks"),
			equal("text", at(body, "text"), "Ada von &lt;Example&gt; &amp; Co is at Hotel"))
	}},
	// learn.microsoft.com: a message with one adaptive card.
	"teams": {"https://prod-00.westeurope.logic.azure.com", "/workflows/0123456789abcdef/triggers/manual/paths/invoke", func(h http.Header, body map[string]any) (int, error) {
		card := at(body, "attachments", 0, "content")
		return http.StatusAccepted, all(
			equal("type", at(body, "type"), "message"), only(body, "type", "attachments"),
			equal("contentType", at(body, "attachments", 0, "contentType"), "application/vnd.microsoft.card.adaptive"),
			equal("type", at(card, "type"), "AdaptiveCard"), equal("version", at(card, "version"), "1.4"),
			equal("block", at(card, "body", 0, "type"), "TextBlock"), equal("text", at(card, "body", 0, "text"), "A guest has been at Hotel for 30 minutes"))
	}},
}

// TestRecipesMeetWhatTheServicesDemand: each example goes the whole way, from the stream
// to a receiver that is as strict as the service's reference.
func TestRecipesMeetWhatTheServicesDemand(t *testing.T) {
	for name, value := range map[string]string{
		"WEBHOOK_SECRET": testSecret, "HUBSPOT_AUTHORIZATION": "Bearer pat-x", "KLAVIYO_AUTHORIZATION": "Klaviyo-API-Key pk_x",
		"MAILCHIMP_AUTHORIZATION": "Basic Z3Vlc3RmbG93Ong=",
	} {
		t.Setenv(name, value)
	}
	files, err := filepath.Glob("examples/*.yaml")
	if err != nil || len(files) != len(recipes) {
		t.Fatalf("%d files, %v; want %d", len(files), err, len(recipes))
	}
	b := withVisits(t)
	e := arrival("s")
	now := time.Now().UTC().Truncate(time.Second)
	e.Time, e.Data.Session.StartedAt, e.Data.Observed.At = now, now, now
	e.Data.Guest.Name, e.Data.Session.LocationName = "Ada von <Example> & Co", "Hotel"
	came := visitEvent(visits.Started, "v", 1)
	came.Time, came.Data.Guest, came.Data.Visit.LocationName = now, e.Data.Guest, "Hotel"
	stayed := visitEvent(visits.Stayed, "v", 2)
	stayed.Time, stayed.Data.ThresholdSeconds, stayed.Data.Visit.LocationName = now, 1800, "Hotel"
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		recipe := recipes[name]
		r := newReceiver(t, func(w http.ResponseWriter, got received) {
			var body map[string]any
			err := json.Unmarshal(got.body, &body)
			status := http.StatusBadRequest
			if err == nil {
				status, err = recipe.demand(got.header, body)
			}
			if err != nil {
				t.Errorf("%s: %v: %s", name, err, got.body)
			}
			w.WriteHeader(status)
		})
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "url: "+recipe.host+recipe.path) {
			t.Errorf("%s does not send to %s%s", file, recipe.host, recipe.path)
		}
		here := strings.ReplaceAll(string(text), recipe.host, r.URL) + "    allow_private: true\n"
		tr := newTrial(t, b)
		write(t, tr.Path, here)
		if checked, err := tr.Check(); err != nil || len(checked) != 1 || checked[0].Reason != "" || checked[0].Hint != "" {
			t.Errorf("%s: %+v, %v", file, checked, err)
		}
		tr.start(b)
		defer tr.stop()
		defer untilTaken(t, r, 1)
	}
	b.publish(e.Sealed())
	b.publishVisits(came.Sealed(), stayed.Sealed())
}
