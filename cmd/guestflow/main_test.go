package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/guestflow/guestflow/publisher/embedded"
)

// The test binary is also the program, and a NATS server, so that tests can kill
// real processes.
const (
	actAs    = "GUESTFLOWTEST_ACT_AS"
	natsDir  = "GUESTFLOWTEST_NATS_DIR"
	natsAddr = "GUESTFLOWTEST_NATS_ADDR"
	natsConf = "GUESTFLOWTEST_NATS_CONF" // of a nats-server, in place of the two above
)

func TestMain(m *testing.M) {
	switch os.Getenv(actAs) {
	case "guestflow":
		os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
	case "nats":
		if conf := os.Getenv(natsConf); conf != "" {
			serveNATS(conf)
		}
		_, err := embedded.Start(context.Background(), embedded.Settings{
			Dir: os.Getenv(natsDir), Listen: os.Getenv(natsAddr), Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		select {} // until it is killed
	}
	os.Exit(m.Run())
}

// serveNATS is a nats-server with a configuration file, until it is killed.
func serveNATS(conf string) {
	options, err := server.ProcessConfigFile(conf)
	if err == nil {
		var s *server.Server
		if s, err = server.NewServer(options); err == nil {
			s.ConfigureLogger()
			s.Start()
			select {}
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
