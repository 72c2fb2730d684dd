package main

import (
	"slices"
	"strings"

	"github.com/guestflow/guestflow/consumers/visit"
	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
	"github.com/guestflow/guestflow/events/alerts"
	"github.com/guestflow/guestflow/events/forgotten"
	"github.com/guestflow/guestflow/events/visits"
	"github.com/guestflow/guestflow/internal/baseline"
	"github.com/guestflow/guestflow/internal/lease"
	"github.com/guestflow/guestflow/publisher"
)

// Where occupancy keeps what it knows.
const (
	occupancyBucket = "guest-occupancy"
	occupancyObject = "guest-occupancy-state"
)

// neededRights are what run needs of NATS, once its streams are there.
func neededRights(cfg Config) []publisher.Right {
	const api = "$JS.API."
	rights := []publisher.Right{
		{Subject: api + "STREAM.INFO." + cfg.Stream, For: "the stream's state"},
		{Subject: api + "STREAM.MSG.GET." + cfg.Stream, For: "the last event"},
		{Subject: api + "DIRECT.GET." + cfg.Stream, For: "the event at which occupancy goes on"},
		{Subject: api + "CONSUMER.CREATE." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: api + "CONSUMER.MSG.NEXT." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: api + "CONSUMER.DELETE." + cfg.Stream + ".>", For: "ending to read the stream"},
		{Subject: api + "INFO", For: "the account's limits"},
		{Subject: "$KV." + occupancyBucket + ".>", For: "occupancy's bucket"},
		{Subject: "$O." + occupancyObject + ".>", For: "occupancy's state"},
		{Subject: api + "STREAM.PURGE.OBJ_" + occupancyObject, For: "occupancy's former states, which else stay for ever"},
	}
	rights = append(rights, accountRights(cfg)...)
	rights = append(rights, forgottenRights(cfg)...)
	for _, stream := range []string{"KV_" + occupancyBucket, "OBJ_" + occupancyObject} {
		rights = append(rights, stateRights(cfg, stream)...)
	}
	if cfg.Lease > 0 {
		rights = append(rights, publisher.Right{Subject: "$KV." + lease.DefaultBucket + ".>", For: "the leases of accounts"})
		rights = append(rights, stateRights(cfg, "KV_"+lease.DefaultBucket)...)
	}
	if cfg.WebhooksFile != "" {
		rights = append(rights, webhookRights(cfg)...)
	}
	if cfg.Visits {
		rights = append(rights, visitRights(cfg)...)
	}
	if cfg.AlertsFile != "" {
		rights = append(rights, alertRights(cfg)...)
	}
	rights = append(rights, retentionRights(cfg)...)
	return rights
}

// alertRights are what alerts need beside.
func alertRights(cfg Config) []publisher.Right {
	rights := []publisher.Right{{Subject: "$JS.API.CONSUMER.MSG.NEXT." + alerts.DefaultStream + ".>", For: "reading the alerts"}}
	for _, account := range accountTokens(cfg) {
		rights = append(rights, publisher.Right{Subject: alerts.DefaultPrefix + "." + account + ".>", For: "the alerts"})
	}
	rights = append(rights, stateRights(cfg, alerts.DefaultStream)...)
	if cfg.BaselineDays > 0 {
		rights = append(rights, publisher.Right{Subject: "$KV." + baseline.DefaultBucket + ".>", For: "what is usual"})
		rights = append(rights, stateRights(cfg, "KV_"+baseline.DefaultBucket)...)
	}
	return rights
}

// accountTokens are the accounts as subjects have them; none where the accounts file
// cannot be used, which is told elsewhere.
func accountTokens(cfg Config) (tokens []string) {
	configs, err := cfg.accounts()
	if err != nil {
		return nil
	}
	for _, c := range configs {
		tokens = append(tokens, events.EncodeToken(c.Account).String())
	}
	return tokens
}

// accountRights are those to publish the accounts' events.
func accountRights(cfg Config) (rights []publisher.Right) {
	configs, err := cfg.accounts()
	if err != nil {
		return nil // what is wrong with the file is told elsewhere
	}
	for _, c := range configs {
		what := "the events"
		if cfg.AccountsFile != "" {
			what = "the events of account " + c.Account
		}
		rights = append(rights, publisher.Right{Subject: cfg.SubjectPrefix + "." + events.EncodeToken(c.Account).String() + ".>", For: what})
	}
	return rights
}

// forgottenRights are what following the list of who is forgotten needs.
func forgottenRights(cfg Config) []publisher.Right {
	const what = "the list of who is forgotten"
	rights := []publisher.Right{
		{Subject: "$JS.API.CONSUMER.MSG.NEXT." + forgotten.DefaultStream + ".>", For: what},
		{Subject: "$JS.ACK." + forgotten.DefaultStream + ".>", For: what},
	}
	return append(rights, stateRights(cfg, forgotten.DefaultStream)...)
}

// visitRights are what the visits need beside.
func visitRights(cfg Config) []publisher.Right {
	rights := []publisher.Right{
		{Subject: "$O." + visit.DefaultState + ".>", For: "the visits' state"},
		{Subject: "$JS.API.STREAM.PURGE.OBJ_" + visit.DefaultState, For: "the visits' former states, which else stay for ever"},
		{Subject: "$JS.API.CONSUMER.MSG.NEXT." + visits.DefaultStream + ".>", For: "reading the visits"},
	}
	for _, account := range accountTokens(cfg) {
		rights = append(rights, publisher.Right{Subject: visits.DefaultPrefix + "." + account + ".>", For: "the visits"})
	}
	rights = append(rights, stateRights(cfg, visits.DefaultStream)...)
	return append(rights, stateRights(cfg, "OBJ_"+visit.DefaultState)...)
}

// webhookRights are what the webhooks need: of consumers, their endpoints' alone.
func webhookRights(cfg Config) []publisher.Right {
	const api = "$JS.API."
	rights := []publisher.Right{
		{Subject: "$KV." + webhook.DefaultBucket + ".>", For: "the webhooks' state"},
		{Subject: webhook.DefaultDeadPrefix + ".>", For: "dead letters"},
	}
	streams := map[string]bool{}
	for _, e := range endpoints(cfg) {
		endpoint, stream := e.Name, cfg.Stream
		switch e.Stream {
		case "visits":
			stream = visits.DefaultStream
		case "forgotten":
			stream = forgotten.DefaultStream
		case "alerts":
			stream = alerts.DefaultStream
		}
		if !streams[stream] {
			streams[stream] = true
			rights = append(rights,
				publisher.Right{Subject: api + "STREAM.INFO." + stream, For: "the state of the stream " + stream},
				publisher.Right{Subject: api + "DIRECT.GET." + stream, For: "the oldest event that waits"})
		}
		of := stream + "." + webhook.Durable(endpoint)
		rights = append(rights,
			publisher.Right{Subject: api + "CONSUMER.INFO." + of, For: "the backlog of endpoint " + endpoint},
			publisher.Right{Subject: api + "CONSUMER.CREATE." + of, For: "the place of endpoint " + endpoint},
			publisher.Right{Subject: api + "CONSUMER.CREATE." + of + ".>", For: "the place of endpoint " + endpoint},
			publisher.Right{Subject: api + "CONSUMER.MSG.NEXT." + of, For: "the events of endpoint " + endpoint},
			publisher.Right{Subject: "$JS.ACK." + of + ".>", For: "acknowledgements of endpoint " + endpoint})
	}
	if skipsOld(cfg) {
		rights = append(rights, publisher.Right{Subject: webhook.DefaultSkippedPrefix + ".>", For: "the list of skipped events"})
		rights = append(rights, stateRights(cfg, webhook.DefaultSkippedStream)...)
	}
	rights = append(rights, stateRights(cfg, "KV_"+webhook.DefaultBucket)...)
	return append(rights, stateRights(cfg, webhook.DefaultDeadStream)...)
}

// endpoints are those of the endpoints file; none where it cannot be used, which is told
// elsewhere.
func endpoints(cfg Config) []webhook.Endpoint {
	file, err := webhook.Load(cfg.WebhooksFile, absentFields(cfg), groupsAsTheyAre(cfg))
	if err != nil {
		return nil
	}
	return file.Endpoints
}

// stateRights are the rights to a stream that holds state: where it is declared elsewhere,
// nobody needs to make it.
func stateRights(cfg Config, stream string) []publisher.Right {
	rights := keeping(stream)
	if !cfg.StreamManage {
		rights = slices.Delete(rights, 1, 2)
	}
	return rights
}

// skipsOld reports whether any endpoint has a max_age.
func skipsOld(cfg Config) bool {
	return slices.ContainsFunc(endpoints(cfg), func(e webhook.Endpoint) bool { return e.MaxAge > 0 })
}

// readingRights are what a command needs that only reads the stream.
func readingRights(cfg Config) []publisher.Right {
	return []publisher.Right{
		{Subject: "$JS.API.STREAM.INFO." + cfg.Stream, For: "the stream's state"},
		{Subject: "$JS.API.DIRECT.GET." + cfg.Stream + ".>", For: "the last event"},
		{Subject: "$JS.API.CONSUMER.CREATE." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: "$JS.API.CONSUMER.MSG.NEXT." + cfg.Stream + ".>", For: "reading the stream"},
	}
}

// bucketRights are what a command needs that only reads occupancy's bucket.
func bucketRights() []publisher.Right {
	return stateRights(Config{}, "KV_"+occupancyBucket)
}

// keeping are the rights to find and read a stream that holds state.
func keeping(stream string) []publisher.Right {
	what := "state"
	if _, name, ok := strings.Cut(stream, "_"); ok {
		what = name
	}
	return []publisher.Right{
		{Subject: "$JS.API.STREAM.INFO." + stream, For: what},
		{Subject: "$JS.API.STREAM.CREATE." + stream, For: what},
		{Subject: "$JS.API.DIRECT.GET." + stream + ".>", For: what},
		{Subject: "$JS.API.CONSUMER.CREATE." + stream + ".>", For: what},
		{Subject: "$JS.API.CONSUMER.DELETE." + stream + ".>", For: what},
	}
}

// creationRights are what run needs to make the stream.
func creationRights(cfg Config) []publisher.Right {
	return []publisher.Right{{Subject: "$JS.API.STREAM.CREATE." + cfg.Stream, For: "making the stream"}}
}
