package main

import (
	"slices"
	"strings"

	"github.com/guestflow/guestflow/consumers/webhook"
	"github.com/guestflow/guestflow/events"
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
	account := cfg.SubjectPrefix + "." + events.EncodeToken(cfg.Account).String() + ".>"
	rights := []publisher.Right{
		{Subject: account, For: "the events"},
		{Subject: api + "STREAM.INFO." + cfg.Stream, For: "the stream's state"},
		{Subject: api + "STREAM.MSG.GET." + cfg.Stream, For: "the last event"},
		{Subject: api + "CONSUMER.CREATE." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: api + "CONSUMER.MSG.NEXT." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: api + "CONSUMER.DELETE." + cfg.Stream + ".>", For: "ending to read the stream"},
		{Subject: api + "INFO", For: "the account's limits"},
		{Subject: "$KV." + occupancyBucket + ".>", For: "occupancy's bucket"},
		{Subject: "$O." + occupancyObject + ".>", For: "occupancy's state"},
	}
	for _, stream := range []string{"KV_" + occupancyBucket, "OBJ_" + occupancyObject} {
		rights = append(rights, keeping(stream)...)
	}
	if cfg.WebhooksFile != "" {
		rights = append(rights, webhookRights(cfg)...)
	}
	return rights
}

// webhookRights are what the webhooks need beside.
func webhookRights(cfg Config) []publisher.Right {
	const api = "$JS.API."
	rights := []publisher.Right{
		{Subject: "$KV." + webhook.DefaultBucket + ".>", For: "the webhooks' state"},
		{Subject: webhook.DefaultDeadPrefix + ".>", For: "dead letters"},
		{Subject: api + "CONSUMER.CREATE." + cfg.Stream + ".>", For: "reading the stream"},
		{Subject: api + "CONSUMER.INFO." + cfg.Stream + ".>", For: "the webhooks' backlog"},
		{Subject: "$JS.ACK." + cfg.Stream + ".>", For: "the webhooks' acknowledgements"},
	}
	if skipsOld(cfg) {
		rights = append(rights, publisher.Right{Subject: webhook.DefaultSkippedPrefix + ".>", For: "the list of skipped events"})
		rights = append(rights, keeping(webhook.DefaultSkippedStream)...)
	}
	rights = append(rights, keeping("KV_"+webhook.DefaultBucket)...)
	return append(rights, keeping(webhook.DefaultDeadStream)...)
}

// skipsOld reports whether any endpoint has a max_age.
func skipsOld(cfg Config) bool {
	file, err := webhook.Load(cfg.WebhooksFile, absentFields(cfg))
	return err == nil && slices.ContainsFunc(file.Endpoints, func(e webhook.Endpoint) bool { return e.MaxAge > 0 })
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
	return append(keeping("KV_" + occupancyBucket)[:1], keeping("KV_" + occupancyBucket)[2:]...)
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
